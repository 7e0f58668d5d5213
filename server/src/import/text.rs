//! Helpers of all formats: fields that may be missing, and texts in place of content that isn't imported.

use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Deserializer};
use serde_json::Value;

/// Deserializes an optional field: a value of another type counts as missing.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(value: D) -> Result<T, D::Error> {
    let value = Value::deserialize(value)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Returns a message's text with a line for each of its files, whose content isn't imported.
pub(super) fn with_files(mut text: String, names: impl Iterator<Item = String>) -> String {
    for name in names.filter(|name| !name.trim().is_empty()) {
        let line = format!("[File: {}]", name.split_whitespace().collect::<Vec<_>>().join(" "));
        text = if text.trim().is_empty() { line } else { format!("{text}\n\n{line}") };
    }
    text
}

/// Returns a text as a block of code, between fences that are longer than any within it.
pub(super) fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}{}\n{}\n{fence}", language.trim(), text.trim_matches('\n'))
}

//! Reads the content of messages and deltas: a text, a part, or a list of parts.

use crate::{Chunk, lenient};
use serde_json::Value;

/// Appends the text and the reasoning of a content. Parts of unknown types are ignored.
pub(crate) fn read(content: &Value, out: &mut Vec<Chunk>) {
    match content {
        Value::Array(parts) => parts.iter().for_each(|part| read(part, out)),
        Value::Object(_) => read_part(content, out),
        _ => push(Chunk::Text, plain(content), out),
    }
}

fn read_part(part: &Value, out: &mut Vec<Chunk>) {
    match lenient::text(part, "/type") {
        Some("text" | "text_delta" | "output_text" | "refusal") | None => {
            push(Chunk::Text, [&part["text"], &part["refusal"]].map(plain).concat(), out);
        }
        Some("thinking" | "thinking_delta" | "reasoning" | "reasoning_text" | "summary_text") => {
            push(Chunk::Reasoning, plain(part), out);
        }
        Some(_) => {}
    }
}

/// Appends a chunk, unless it is empty.
pub(crate) fn push(kind: fn(String) -> Chunk, text: String, out: &mut Vec<Chunk>) {
    if !text.is_empty() {
        out.push(kind(text));
    }
}

/// Returns the text of a value: a text, a list of texts, or an object that holds one.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(plain).collect(),
        Value::Object(fields) => {
            let texts = ["text", "thinking", "reasoning", "content", "summary"].iter();
            texts.filter_map(|name| fields.get(*name)).map(plain).find(|text| !text.is_empty()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

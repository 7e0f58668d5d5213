//! Keys, URLs and timeouts of the LLM providers.

use super::{Config, Variables};
use std::collections::BTreeSet;
use std::time::Duration;

/// Who writes the titles of conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Titles {
    /// The cheapest model that the user's plan allows, after the first response.
    Model,
    /// No model: a title is the first words of the first message.
    Text,
}

/// Reads the section's variables.
pub(super) fn read(vars: &Variables, config: &mut Config) {
    // A key may be named in its own variable, in a file's, or in both.
    let names: BTreeSet<&str> = vars.names().filter_map(key_name).collect();
    let keys = names.into_iter().filter_map(|name| Some((name.to_owned(), vars.secret(name)?)));
    config.provider_keys = keys.collect();
    config.anthropic_base_url = vars.text("ANTHROPIC_BASE_URL");
    config.openai_base_url = vars.text("OPENAI_BASE_URL");
    let timeouts = &mut config.provider_timeouts;
    timeouts.connect = read_timeout(vars, "PROVIDER_CONNECT_TIMEOUT_MS").unwrap_or(timeouts.connect);
    timeouts.first_byte = read_timeout(vars, "PROVIDER_FIRST_BYTE_TIMEOUT_MS").unwrap_or(timeouts.first_byte);
    timeouts.idle = read_timeout(vars, "PROVIDER_IDLE_TIMEOUT_MS").unwrap_or(timeouts.idle);
    config.titles = read_titles(vars).unwrap_or(config.titles);
}

/// Reads who writes titles.
fn read_titles(vars: &Variables) -> Option<Titles> {
    vars.parse("TITLES", "model or text", |value| match value {
        "model" => Some(Titles::Model),
        "text" => Some(Titles::Text),
        _ => None,
    })
}

/// Returns the name of the API key that a variable holds or names a file of: `X_API_KEY` for itself and for `X_API_KEY_FILE`.
fn key_name(variable: &str) -> Option<&str> {
    let name = match variable.rsplit_once('_') {
        Some((name, "FILE")) => name,
        _ => variable,
    };
    matches!(name.rsplit_once('_'), Some((rest, "KEY")) if rest.ends_with("_API")).then_some(name)
}

fn read_timeout(vars: &Variables, name: &str) -> Option<Duration> {
    vars.parse(name, "a positive whole number of milliseconds, like 5000", |value| {
        value.parse::<u64>().ok().filter(|ms| *ms > 0).map(Duration::from_millis)
    })
}

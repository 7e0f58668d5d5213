//! Keys, URLs and timeouts of the LLM providers.

use super::{Config, Variables};
use std::time::Duration;

/// Reads the section's variables.
pub(super) fn read(vars: &Variables<'_>, config: &mut Config) {
    config.anthropic_api_key = vars.secret("ANTHROPIC_API_KEY");
    config.anthropic_base_url = vars.text("ANTHROPIC_BASE_URL");
    config.openai_api_key = vars.secret("OPENAI_API_KEY");
    config.openai_base_url = vars.text("OPENAI_BASE_URL");
    let timeouts = &mut config.provider_timeouts;
    timeouts.connect = read_timeout(vars, "PROVIDER_CONNECT_TIMEOUT_MS").unwrap_or(timeouts.connect);
    timeouts.first_byte = read_timeout(vars, "PROVIDER_FIRST_BYTE_TIMEOUT_MS").unwrap_or(timeouts.first_byte);
    timeouts.idle = read_timeout(vars, "PROVIDER_IDLE_TIMEOUT_MS").unwrap_or(timeouts.idle);
}

fn read_timeout(vars: &Variables<'_>, name: &str) -> Option<Duration> {
    vars.parse(name, "a positive whole number of milliseconds, like 5000", |value| {
        value.parse::<u64>().ok().filter(|ms| *ms > 0).map(Duration::from_millis)
    })
}

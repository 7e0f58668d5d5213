//! Usage in the shape of each format.

use domain::Usage;
use serde_json::{Value, json};

/// Returns usage as chat completions report it.
pub(super) fn completions(usage: &Usage) -> Value {
    let (prompt, output) = (usage.prompt(), usage.output);
    json!({
        "prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning, "audio_tokens": 0, "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}

/// Returns usage as responses report it.
pub(super) fn responses(usage: &Usage) -> Value {
    let (prompt, output) = (usage.prompt(), usage.output);
    json!({
        "input_tokens": prompt, "output_tokens": output, "total_tokens": prompt + output,
        "input_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

/// Returns usage as messages report it. Tokens that were read from a cache or written to one aren't included in the input.
pub(super) fn messages(usage: &Usage) -> Value {
    let short = usage.cache_write.0.saturating_sub(usage.cache_write_long.0);
    json!({
        "input_tokens": usage.input, "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read, "output_tokens": usage.output,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": usage.cache_write_long},
        "service_tier": "standard",
    })
}

//! Passes requests on to providers of the same format. Only fields that `parse` has read are sent.

use domain::Tokens;
use serde_json::{Map, Value, json};

/// Fields of chat completions that are passed on.
const COMPLETIONS: [&str; 21] = [
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "stop",
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "verbosity",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "max_tokens",
    "max_completion_tokens",
];
/// Fields of messages that are passed on.
const MESSAGES: [&str; 13] = [
    "system",
    "messages",
    "tools",
    "tool_choice",
    "stop_sequences",
    "temperature",
    "top_p",
    "top_k",
    "thinking",
    "metadata",
    "output_config",
    "cache_control",
    "service_tier",
];
/// Smallest budget of reasoning tokens that Anthropic accepts.
const MIN_BUDGET: u64 = 1_024;

/// Copies fields that aren't null. Servers reject empty lists of tools.
fn copied(request: &Value, names: &[&str]) -> Map<String, Value> {
    let mut body = Map::new();
    for name in names {
        let value = &request[*name];
        if !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty()) {
            body.insert((*name).to_owned(), value.clone());
        }
    }
    body
}

/// Returns the body of a chat completion. Compatible servers don't support the role `developer`, and all accept `system` in its place.
pub(crate) fn completions(request: &Value) -> Value {
    let mut body = Value::Object(copied(request, &COMPLETIONS));
    if let Some(fields) = body.as_object_mut() {
        fields.remove("max_tokens");
        fields.remove("max_completion_tokens");
        if !fields.contains_key("tools") {
            fields.remove("tool_choice");
            fields.remove("parallel_tool_calls");
        }
    }
    for message in body["messages"].as_array_mut().into_iter().flatten() {
        if message["role"] == "developer" {
            message["role"] = "system".into();
        }
        if let Some(fields) = message.as_object_mut() {
            fields.remove("thinking_blocks");
        }
    }
    body
}

/// Returns the body of a message. A budget of reasoning is kept below the output limit, and reasoning without a signature, which other
/// providers sent, is left out, and so is a message of nothing else.
pub(crate) fn messages(request: &Value, max_output: Tokens) -> Value {
    let mut body = Value::Object(copied(request, &MESSAGES));
    let budget = body["thinking"]["budget_tokens"].as_u64();
    if body["service_tier"] == "auto"
        && let Some(fields) = body.as_object_mut()
    {
        fields.remove("service_tier");
    }
    if budget.is_some_and(|budget| budget >= max_output.0) {
        body["thinking"] = match max_output.0.saturating_sub(1) {
            budget if budget >= MIN_BUDGET => json!({"type": "enabled", "budget_tokens": budget}),
            _ => json!({"type": "disabled"}),
        };
    }
    if let Some(messages) = body["messages"].as_array_mut() {
        messages.retain_mut(|message| {
            let Some(blocks) = message.get_mut("content").and_then(Value::as_array_mut) else { return true };
            let had_blocks = !blocks.is_empty();
            blocks.retain(|block| !is_unsigned(block));
            // A message without content is rejected. One that had none is rejected as it was sent.
            !(had_blocks && blocks.is_empty())
        });
    }
    body
}

/// Returns whether a block is reasoning without a signature.
fn is_unsigned(block: &Value) -> bool {
    block["type"] == "thinking" && block["signature"].as_str().unwrap_or_default().is_empty()
}

//! Errors in the shape of each format.

use super::format::ApiFormat;
use serde_json::{Value, json};

/// Why a request is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidRequest {
    /// The field, as a path such as `messages[0].content`.
    pub param: Option<String>,
    /// What is wrong with it, for the caller. It never quotes a value.
    pub message: String,
}

impl InvalidRequest {
    /// Creates an error about a field.
    pub(crate) fn at(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), message: message.into() }
    }
}

/// Returns the body of an error in a format's shape. `kind` is the name of our problem.
#[must_use]
pub fn error_body(format: ApiFormat, status: u16, kind: &str, message: &str, param: Option<&str>) -> Value {
    match format {
        ApiFormat::ChatCompletions | ApiFormat::Responses => {
            let message = with_param(message, param);
            json!({"error": {"message": message, "type": openai_type(status), "param": param, "code": openai_code(status, kind)}})
        }
        ApiFormat::Messages => {
            let message = with_param(message, param);
            json!({"type": "error", "error": {"type": anthropic_type(status), "message": message}, "request_id": null})
        }
    }
}

/// Returns a message that names its field: SDKs raise exceptions with the message alone.
fn with_param(message: &str, param: Option<&str>) -> String {
    match param {
        Some(param) if !names_param(message, param) => format!("{param}: {message}"),
        _ => message.to_owned(),
    }
}

/// Returns whether a message contains the name of a field as a word: that of `n` is a letter of most messages.
fn names_param(message: &str, param: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    message
        .match_indices(param)
        .any(|(at, _)| !message[..at].ends_with(is_part) && !message[at + param.len()..].starts_with(is_part))
}

fn openai_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "insufficient_quota",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

/// Returns OpenAI's error code if there is one for the problem, and otherwise the name of our problem.
fn openai_code(status: u16, kind: &str) -> &str {
    match (status, kind) {
        (401, _) => "invalid_api_key",
        (429, _) => "rate_limit_exceeded",
        _ => kind,
    }
}

/// Returns the type of an error: <https://docs.anthropic.com/en/api/errors>
pub(crate) fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

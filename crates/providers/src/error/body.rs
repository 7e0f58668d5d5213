//! Reads a provider's error object, in any of the shapes in use, and classifies it. Messages are matched against known phrases and then
//! dropped, because they may quote the prompt.

use super::too_long;
use crate::{ProviderError, lenient};
use serde_json::Value;

/// Maximum number of characters of a message that are matched.
const MESSAGE_CHARS: usize = 4096;

const OUT_OF_CREDIT: [&str; 11] = [
    "insufficient_quota",
    "insufficient_user_quota",
    "insufficient_balance",
    "insufficient_credits",
    "billing_error",
    "billing_not_active",
    "billing_hard_limit_reached",
    "credit_balance_too_low",
    "exceeded_current_quota_error",
    "accountoverdueerror",
    "arrearage",
];
const OUT_OF_CREDIT_PHRASES: [&str; 4] =
    ["credit balance is too low", "insufficient balance", "insufficient credit", "out of credits"];
const KEY_REJECTED: [&str; 6] = [
    "authentication_error",
    "invalid_authentication",
    "invalid_api_key",
    "api_key_invalid",
    "permission_error",
    "permission_denied",
];
const KEY_REJECTED_PHRASES: [&str; 5] =
    ["api key not valid", "invalid api key", "incorrect api key", "authentication", "permission"];
const UNKNOWN_MODEL: [&str; 7] = [
    "model_not_found",
    "model_not_exist",
    "model_not_available",
    "model_not_supported",
    "model_decommissioned",
    "unknown_model",
    "invalid_model",
];
const UNKNOWN_MODEL_PHRASES: [&str; 6] = [
    "not a valid model",
    "model not exist",
    "model not found",
    "unknown model",
    "invalid model",
    "model does not exist",
];
const TOO_LONG: [&str; 4] =
    ["context_length_exceeded", "exceed_context_size_error", "request_too_large", "prompt_too_long"];
const TOO_LONG_PHRASES: [&str; 11] = [
    "prompt is too long",
    "input is too long",
    "maximum context length",
    "maximum prompt length",
    "exceed context limit",
    "exceeds the context",
    "exceeds the available context size",
    "exceeds the model's context",
    "input token count",
    "input tokens exceed",
    "reduce the length of the messages",
];
/// Names of errors in bodies, with the HTTP status that they correspond to, for errors that come without one.
const STATUS_NAMES: [(&str, u16); 10] = [
    ("overloaded_error", 529),
    ("overloaded", 529),
    ("rate_limit_error", 429),
    ("rate_limit_exceeded", 429),
    ("too_many_requests", 429),
    ("api_error", 500),
    ("server_error", 500),
    ("internal_error", 500),
    ("internal_server_error", 500),
    ("service_unavailable", 503),
];

/// A provider's error, as its body describes it.
#[derive(Default)]
pub(crate) struct ErrorBody {
    /// The provider's name for it, as it may be logged.
    kind: Option<String>,
    /// Its types, codes and parameters, in lower case.
    names: Vec<String>,
    /// Its messages, in lower case.
    message: String,
    /// The HTTP status in the body.
    status: Option<u16>,
    /// The prompt's tokens and the maximum, as fields.
    numbers: (Option<u64>, Option<u64>),
}

impl ErrorBody {
    /// Creates an error with only a name.
    pub fn named(name: &str) -> Self {
        Self { kind: loggable(name), names: vec![name.to_lowercase()], ..Self::default() }
    }

    /// Reads an error body: JSON or text.
    pub fn from_text(text: &str) -> Self {
        match serde_json::from_str::<Value>(text) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Self::from_json(&value),
            _ => Self { message: lowercase(text), ..Self::default() },
        }
    }

    /// Reads the error in an event of a stream, if there is one. `name` is the event's name.
    pub fn in_event(name: &str, value: &Value) -> Option<Self> {
        let error = |pointer: &str| value.pointer(pointer).is_some_and(lenient::has_content);
        let says_error = |pointer: &str| lenient::text(value, pointer) == Some("error");
        if name == "error" || says_error("/type") || says_error("/object") || error("/error") {
            return Some(Self::from_json(value));
        }
        error("/choices/0/error").then(|| Self::from_json(&value["choices"][0]))
    }

    /// Reads an error object: `{"error": {…}}`, `{"error": "…"}`, a list of one such object, `{"detail": […]}`, or the fields themselves.
    pub fn from_json(value: &Value) -> Self {
        let value = value.as_array().and_then(|items| items.first()).unwrap_or(value);
        let inner = value.get("error").unwrap_or(&Value::Null);
        let mut read = Self::default();
        for part in [inner, value] {
            read.add_names(part);
            read.add_messages(part);
            let status = lenient::count(part, &["/code", "/status", "/status_code"]);
            let status =
                status.and_then(|status| u16::try_from(status).ok()).filter(|status| (400..600).contains(status));
            read.status = read.status.or(status);
            let tokens = lenient::count(part, &["/n_prompt_tokens"]);
            read.numbers = (read.numbers.0.or(tokens), read.numbers.1.or(lenient::count(part, &["/n_ctx"])));
        }
        if let Some(text) = inner.as_str() {
            read.add_message(text);
            read.names.push(text.to_lowercase());
        }
        read.message = lowercase(&read.message);
        read
    }

    fn add_names(&mut self, part: &Value) {
        for pointer in ["/type", "/code", "/status", "/param", "/reason"] {
            let Some(name) = lenient::name(part, pointer).filter(|name| name != "error") else { continue };
            if self.kind.is_none() && pointer != "/param" {
                self.kind = loggable(&name);
            }
            self.names.push(name.to_lowercase());
        }
    }

    fn add_messages(&mut self, part: &Value) {
        for pointer in ["/message", "/msg", "/detail", "/metadata/raw"] {
            if let Some(text) = lenient::text(part, pointer) {
                self.add_message(text);
            }
        }
        // Pydantic's list of rejected fields; Mistral wraps it in `message`.
        let lists = ["/detail", "/message/detail"].into_iter().filter_map(|pointer| part.pointer(pointer)?.as_array());
        for item in lists.flatten() {
            let location = item.get("loc").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            for text in location.chain(lenient::text(item, "/msg")) {
                self.add_message(text);
            }
        }
    }

    fn add_message(&mut self, text: &str) {
        self.message.push_str(text);
        self.message.push('\n');
    }

    /// Returns the provider's name for the error. Never its message.
    pub fn kind(&self) -> String {
        self.kind.clone().unwrap_or_else(|| "no reason given".into())
    }

    /// Whether the error is about this field of the request.
    pub fn names_field(&self, field: &str) -> bool {
        self.names.iter().any(|name| name == field) || self.message.contains(field)
    }

    /// Whether the prompt, or the prompt and the output together, exceed the context window.
    pub fn is_too_long(&self) -> bool {
        self.is_named(&TOO_LONG) || self.mentions(&TOO_LONG_PHRASES)
    }

    fn is_named(&self, known: &[&str]) -> bool {
        self.names.iter().any(|name| known.contains(&name.as_str()))
    }

    fn mentions(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.message.contains(phrase))
    }

    /// Classifies a failure with this status.
    pub fn classify(self, status: u16, retry_after_ms: Option<u64>) -> ProviderError {
        // Messages of a server that is merely busy may mention anything.
        let is_refusal = !matches!(status, 429 | 500..600);
        if status == 402 || self.is_named(&OUT_OF_CREDIT) || self.mentions(&OUT_OF_CREDIT_PHRASES) {
            ProviderError::OutOfCredit { status }
        } else if status == 404 || self.is_named(&UNKNOWN_MODEL) {
            ProviderError::UnknownModel { status }
        } else if status == 401
            || self.is_named(&KEY_REJECTED)
            || (status == 403 && self.mentions(&KEY_REJECTED_PHRASES))
            || (is_refusal && self.mentions(&KEY_REJECTED_PHRASES[..3]))
        {
            ProviderError::KeyRejected { status }
        } else if status == 413 || (status != 429 && self.is_too_long()) {
            let (tokens, max) = too_long::numbers(&self.message);
            ProviderError::TooLong { status, tokens: self.numbers.0.or(tokens), max: self.numbers.1.or(max) }
        } else if is_refusal && self.mentions(&UNKNOWN_MODEL_PHRASES) {
            ProviderError::UnknownModel { status }
        } else {
            match status {
                // A proxy timed out; the model may still be processing the call, and bill it.
                408 | 504 | 524 => ProviderError::TimedOut,
                429 | 500..600 => ProviderError::Busy { status, retry_after_ms },
                _ => ProviderError::Refused { status, kind: self.kind() },
            }
        }
    }

    /// Classifies an error that came with a success status and before any output. After an unknown error another model may be called.
    pub fn classify_in_success(self) -> ProviderError {
        let named = STATUS_NAMES.iter().find(|(name, _)| self.is_named(&[*name])).map(|(_, status)| *status);
        let (kind, status) = (self.kind(), self.status.or(named));
        match self.classify(status.unwrap_or(200), None) {
            ProviderError::Refused { .. } | ProviderError::TimedOut => ProviderError::NotAResponse(kind),
            error => error,
        }
    }
}

/// Returns the text if it looks like an error's name. Other texts may quote the prompt.
fn loggable(name: &str) -> Option<String> {
    let is_name = name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:".contains(c));
    (is_name && !name.is_empty()).then(|| name.to_owned())
}

fn lowercase(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS).collect::<String>().to_lowercase()
}

//! A request of the API.

use super::body;
use super::conversation::{Conversation, cache_marks};
use super::count::Count;
use super::error::InvalidRequest;
use super::format::ApiFormat;
use super::parse;
use crate::estimate::Estimate;
use domain::{CacheMarks, Model, ModelName, Thinking, Tokens, WireFormat};
use serde_json::Value;
use std::sync::OnceLock;

/// Efforts without reasoning, which are accepted for models that have no such setting too.
const NO_EFFORT: &str = "none";
/// Maximum number of stop sequences of chat completions.
const OPENAI_STOPS: usize = 4;
/// Maximum number of breakpoints of Anthropic's cache.
const ANTHROPIC_BREAKPOINTS: usize = 4;
/// Maximum number of values in a body. Each takes many times the memory of the two bytes that it may have there.
const MAX_VALUES: usize = 200_000;

/// A request that was read, bounded and checked.
#[derive(Debug)]
pub struct ApiRequest {
    format: ApiFormat,
    json: Value,
    bytes: usize,
    model: ModelName,
    streams: bool,
    includes_usage: bool,
    max_output: Option<Tokens>,
    native_field: Option<&'static str>,
    count: OnceLock<Count>,
}

/// Returns an upper bound of the number of values in JSON: each is behind a bracket, a colon or a comma outside of strings.
fn count_values(json: &[u8]) -> usize {
    let (mut count, mut is_text, mut is_escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' | b':' | b',' if !is_text => count += 1,
            _ => {}
        }
    }
    count
}

impl ApiRequest {
    /// Parses a request's body.
    ///
    /// # Errors
    /// Returns the first field that is invalid or not supported.
    pub fn parse(format: ApiFormat, body: &[u8]) -> Result<Self, InvalidRequest> {
        if count_values(body) > MAX_VALUES {
            return Err(InvalidRequest {
                param: None,
                message: format!("The body has more than {MAX_VALUES} JSON values."),
            });
        }
        // serde's message may quote a value, so only the place is kept. Its depth limit of 128 bounds nesting.
        let json: Value = serde_json::from_slice(body).map_err(|error| InvalidRequest {
            param: None,
            message: format!("The body is not valid JSON, at line {}, column {}.", error.line(), error.column()),
        })?;
        let parsed = parse::read(format, &json)?;
        let (model, streams, includes_usage) =
            (ModelName(parsed.model.to_owned()), parsed.streams, parsed.includes_usage);
        let (max_output, native_field) = (parsed.max_output, parsed.native_field);
        let count = OnceLock::new();
        let bytes = body.len();
        Ok(Self { format, json, bytes, model, streams, includes_usage, max_output, native_field, count })
    }

    /// Returns the caller's format.
    #[must_use]
    pub fn format(&self) -> ApiFormat {
        self.format
    }

    /// Returns the requested model's name.
    #[must_use]
    pub fn model(&self) -> &ModelName {
        &self.model
    }

    /// Whether the response is a stream.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.streams
    }

    /// Returns the requested maximum number of output tokens; `None` leaves it to the server.
    #[must_use]
    pub fn max_output(&self) -> Option<Tokens> {
        self.max_output
    }

    /// Returns the size of the body in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns how the request that a model's provider gets marks prefixes to be cached. The provider may bill a marked prompt at the price of
    /// cache writes.
    #[must_use]
    pub fn cache_marks(&self, model: &Model) -> CacheMarks {
        fn marks(value: &Value) -> CacheMarks {
            match value {
                Value::Object(fields) => {
                    let own = fields.get("cache_control").map_or(CacheMarks::None, cache_marks);
                    fields.values().map(marks).fold(own, Ord::max)
                }
                Value::Array(items) => items.iter().map(marks).fold(CacheMarks::None, Ord::max),
                _ => CacheMarks::None,
            }
        }
        match (self.format, model.provider.wire_format) {
            // Servers that pass chat completions on to Anthropic's models take the same marks.
            (ApiFormat::ChatCompletions, WireFormat::OpenAi) | (ApiFormat::Messages, WireFormat::Anthropic) => {
                marks(&self.json)
            }
            (_, WireFormat::Anthropic) => self.conversation().breakpoints().max().unwrap_or_default(),
            (_, WireFormat::OpenAi | WireFormat::Demo) => CacheMarks::None,
        }
    }

    /// Estimates the prompt's tokens for a model: an upper bound of text, tools, schemas, images and framing. Texts are counted once per
    /// request, which takes time in proportion to its size.
    pub fn estimate(&self, model: &Model) -> Estimate {
        self.count.get_or_init(|| Count::of(&self.conversation())).estimate(model)
    }

    /// Checks what depends on the model.
    ///
    /// # Errors
    /// Returns the first field that the model doesn't support.
    pub fn check(&self, model: &Model) -> Result<(), InvalidRequest> {
        let (conversation, wire_format) = (self.conversation(), model.provider.wire_format);
        let messages = if self.format == ApiFormat::Responses { "input" } else { "messages" };
        if !model.takes_images && !conversation.images().is_empty() {
            return Err(InvalidRequest::at(messages, format!("The model `{}` takes no images.", model.name)));
        }
        // In its own format, Anthropic refuses an effort that the model doesn't have, unless the owner has listed those that it has.
        let is_passed_on = self.format == ApiFormat::Messages && wire_format == WireFormat::Anthropic;
        let is_unlisted = is_passed_on && model.efforts.is_empty() && model.thinking != Thinking::None;
        if let Some(effort) = conversation.effort.filter(|effort| *effort != NO_EFFORT && !is_unlisted)
            && !model.efforts.iter().any(|known| known == effort)
        {
            let message = match model.efforts.as_slice() {
                [] => format!("The model `{}` has no reasoning efforts.", model.name),
                efforts => format!("must be one of: {}", efforts.join(", ")),
            };
            let param = match self.format {
                ApiFormat::ChatCompletions => "reasoning_effort",
                ApiFormat::Responses => "reasoning.effort",
                ApiFormat::Messages => "output_config.effort",
            };
            return Err(InvalidRequest::at(param, message));
        }
        // What a call that was stopped has used is estimated without reasoning if its model never reasons.
        if conversation.thinks && wire_format == WireFormat::Anthropic && model.thinking == Thinking::None {
            return Err(InvalidRequest::at("thinking", format!("The model `{}` doesn't reason.", model.name)));
        }
        if let Some(field) = self.native_field.filter(|_| wire_format != WireFormat::OpenAi) {
            return Err(InvalidRequest::at(field, format!("The model `{}` doesn't support `{field}`.", model.name)));
        }
        if conversation.stop.len() > OPENAI_STOPS && wire_format == WireFormat::OpenAi {
            let param = if self.format == ApiFormat::Messages { "stop_sequences" } else { "stop" };
            return Err(InvalidRequest::at(param, format!("The model `{}` takes at most {OPENAI_STOPS}.", model.name)));
        }
        if wire_format == WireFormat::Anthropic && conversation.breakpoints().count() > ANTHROPIC_BREAKPOINTS {
            let message = format!("The model `{}` takes at most {ANTHROPIC_BREAKPOINTS} of them.", model.name);
            return Err(InvalidRequest::at("cache_control", message));
        }
        Ok(())
    }

    /// Returns the body of a call of a model: this request if the model's provider has the same format, or a translation. The response is a
    /// stream with usage.
    #[must_use]
    pub fn body(&self, model: &Model, max_output: Tokens) -> Value {
        let mut body = match (self.format, model.provider.wire_format) {
            (ApiFormat::ChatCompletions, WireFormat::OpenAi) => body::pass_on_completions(&self.json),
            (ApiFormat::Messages, WireFormat::Anthropic) => body::pass_on_messages(&self.json, max_output),
            (_, WireFormat::OpenAi | WireFormat::Demo) => body::completions(&self.conversation(), model),
            (_, WireFormat::Anthropic) => body::messages(&self.conversation(), model, max_output),
        };
        body["model"] = model.name.0.as_str().into();
        body["stream"] = true.into();
        let limit = match model.provider.wire_format {
            WireFormat::Anthropic => "max_tokens",
            _ => model.output_limit.map_or("max_completion_tokens", domain::OutputLimit::as_str),
        };
        body[limit] = max_output.0.into();
        if model.provider.wire_format != WireFormat::Anthropic {
            body["stream_options"] = serde_json::json!({"include_usage": true});
            if body["reasoning_effort"]
                .as_str()
                .is_some_and(|effort| !model.efforts.iter().any(|known| known == effort))
                && let Some(fields) = body.as_object_mut()
            {
                fields.remove("reasoning_effort");
            }
        }
        body
    }

    /// Whether a stream of chat completions ends with its usage.
    pub(super) fn includes_usage(&self) -> bool {
        self.includes_usage
    }

    /// Returns the request as it was sent.
    pub(super) fn json(&self) -> &Value {
        &self.json
    }

    /// Returns the request independent of its format.
    pub(super) fn conversation(&self) -> Conversation<'_> {
        // It was read without an error before.
        parse::read(self.format, &self.json).map(|parsed| parsed.conversation).unwrap_or_default()
    }
}

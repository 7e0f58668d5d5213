//! Reads requests of each format. Fields that are unknown, that keep state, or that cost more than tokens are refused by name.

mod completions;
mod messages;
mod output;
mod responses;
mod tools;

pub(crate) use responses::{REDACTED, SIGNED};

use super::conversation::Conversation;
use super::error::InvalidRequest;
use super::fields::{Fields, Read};
use super::format::ApiFormat;
use domain::Tokens;
use serde_json::Value;

/// Maximum number of messages or items of a request.
const MAX_MESSAGES: usize = 10_000;
/// Maximum number of parts of a message.
const MAX_PARTS: usize = 1_000;
/// Maximum number of images of a request.
const MAX_IMAGES: usize = 100;
/// Maximum output that can be requested; the model's own maximum is lower.
const MAX_OUTPUT: u64 = 10_000_000;
/// Maximum length of a model's name.
const MAX_NAME: usize = 200;

/// A request as it was read.
pub(crate) struct Parsed<'a> {
    /// The model's name.
    pub model: &'a str,
    /// Whether the response is a stream.
    pub streams: bool,
    /// Whether a stream of chat completions ends with its usage.
    pub includes_usage: bool,
    /// The requested maximum number of output tokens.
    pub max_output: Option<Tokens>,
    /// Its value.
    pub conversation: Conversation<'a>,
    /// A field that only a provider of the same format supports.
    pub native_field: Option<&'static str>,
}

/// Reads a request.
pub(crate) fn read(format: ApiFormat, body: &Value) -> Read<Parsed<'_>> {
    let parsed = match format {
        ApiFormat::ChatCompletions => completions::read(body),
        ApiFormat::Responses => responses::read(body),
        ApiFormat::Messages => messages::read(body),
    }?;
    if parsed.conversation.images().len() > MAX_IMAGES {
        return Err(InvalidRequest {
            param: None,
            message: format!("A request may have at most {MAX_IMAGES} images."),
        });
    }
    if parsed.conversation.turns.iter().all(|turn| turn.parts.is_empty()) {
        let param = if format == ApiFormat::Responses { "input" } else { "messages" };
        return Err(InvalidRequest::at(param, "at least one message is required"));
    }
    Ok(parsed)
}

/// Reads the model's name.
fn model<'a>(fields: &mut Fields<'a>) -> Read<&'a str> {
    let name = fields.required_text("model")?;
    // Postgres stores no NUL characters.
    if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
        return Err(
            fields.invalid("model", format!("must have 1 to {MAX_NAME} characters, none of them a control character"))
        );
    }
    Ok(name)
}

/// Reads a limit of the output.
fn max_output(fields: &mut Fields<'_>, name: &'static str) -> Read<Option<Tokens>> {
    Ok(fields.whole(name, 1..=MAX_OUTPUT)?.map(Tokens))
}

/// Keeps the fields of an object that weren't read: they are passed on, and count as part of the prompt.
fn keep_rest<'a>(fields: &Fields<'a>, conversation: &mut Conversation<'a>) {
    let rest = fields.rest().filter(|(name, _)| name.as_str() != "cache_control");
    conversation.extra.extend(rest.map(|(name, value)| format!("{name}: {value}")));
}

/// Refuses the choice of another service tier, which changes the price.
fn service_tier(fields: &mut Fields<'_>, allowed: &[&str]) -> Read<()> {
    fields.name("service_tier", allowed).map(|_| ())
}

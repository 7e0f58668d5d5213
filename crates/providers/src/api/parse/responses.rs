//! Reads requests for responses: <https://platform.openai.com/docs/api-reference/responses/create>. Nothing is stored, so each request has the
//! whole conversation.

use super::{MAX_MESSAGES, MAX_PARTS, Parsed, keep_rest, max_output, model, output, service_tier, tools};
use crate::api::conversation::{Conversation, Part, SystemText};
use crate::api::error::InvalidRequest;
use crate::api::fields::{Fields, Read};
use crate::api::images;
use domain::Role;
use serde_json::Value;
use std::borrow::Cow;

/// What marks Anthropic's signature of a reasoning text in `encrypted_content`.
pub(crate) const SIGNED: &str = "thinking:";
/// What marks reasoning that Anthropic sent encrypted.
pub(crate) const REDACTED: &str = "redacted:";

pub(super) fn read(body: &Value) -> Read<Parsed<'_>> {
    let mut fields = Fields::new(body, "")?;
    let mut conversation = Conversation::default();
    let model = model(&mut fields)?;
    let streams = fields.flag("stream")?.unwrap_or(false);
    let max_output = max_output(&mut fields, "max_output_tokens")?;
    refuse(&mut fields)?;
    fields.allow(&["metadata", "user", "safety_identifier", "prompt_cache_key", "stream_options"]);
    conversation.system.extend(fields.text("instructions")?.map(SystemText::from));
    conversation.is_strict_by_default = true;
    match fields.value("input") {
        Some(Value::String(text)) => conversation.push(Role::User, vec![Part::Text(text)]),
        _ => {
            for (position, item) in fields.list("input", MAX_MESSAGES)?.iter().enumerate() {
                read_item(item, format!("input[{position}]"), &mut conversation)?;
            }
        }
    }
    read_tools(&mut fields, &mut conversation)?;
    if let Some(text) = fields.value("text") {
        let mut text = Fields::new(text, "text")?;
        if let Some(format) = text.value("format") {
            conversation.output = output::of_responses(format)?;
        }
        conversation.verbosity = text.name("verbosity", &["low", "medium", "high"])?;
        text.finish()?;
    }
    conversation.temperature = fields.number("temperature", 0.0..=2.0)?;
    conversation.top_p = fields.number("top_p", 0.0..=1.0)?;
    if let Some(reasoning) = fields.value("reasoning") {
        let mut reasoning = Fields::new(reasoning, "reasoning")?;
        conversation.effort = reasoning.text("effort")?;
        reasoning.allow(&["summary", "generate_summary"]);
        reasoning.finish()?;
    }
    fields.finish()?;
    Ok(Parsed { model, streams, includes_usage: true, max_output, conversation, native_field: None })
}

/// Refuses what costs more, or keeps state.
fn refuse(fields: &mut Fields<'_>) -> Read<()> {
    let stateless =
        "nothing is stored for later requests; send the whole conversation in `input` and set `store` to false";
    fields.refuse("store", stateless)?;
    fields.refuse("previous_response_id", stateless)?;
    fields.refuse("conversation", stateless)?;
    fields.refuse("background", stateless)?;
    fields.refuse("prompt", stateless)?;
    fields.refuse("context_management", "send the context that the model should read")?;
    fields.name("truncation", &["disabled"])?;
    fields.name("prompt_cache_retention", &["in-memory", "in_memory"])?;
    fields.whole("top_logprobs", 0..=0)?;
    fields.whole("max_tool_calls", 1..=1_000_000)?;
    service_tier(fields, &["auto", "default"])?;
    let include = fields.texts("include", 16)?;
    if include.iter().any(|name| *name != "reasoning.encrypted_content") {
        return Err(fields.invalid("include", "only `reasoning.encrypted_content` is supported"));
    }
    Ok(())
}

fn read_tools<'a>(fields: &mut Fields<'a>, conversation: &mut Conversation<'a>) -> Read<()> {
    for (position, tool) in fields.list("tools", tools::MAX_TOOLS)?.iter().enumerate() {
        let mut tool = Fields::new(tool, format!("tools[{position}]"))?;
        tools::only_functions(&mut tool, &["function"])?;
        tools::definition(&mut tool, "parameters", conversation)?;
    }
    tools::read_openai_choice(fields, None, conversation)
}

fn read_item<'a>(value: &'a Value, path: String, conversation: &mut Conversation<'a>) -> Read<()> {
    let mut item = Fields::new(value, path)?;
    match item.text("type")? {
        None | Some("message") => read_message(&mut item, conversation),
        Some("function_call") => {
            let arguments = Cow::Borrowed(item.text("arguments")?.unwrap_or_default());
            let id = item.required_text("call_id")?;
            let call = Part::ToolCall { id, name: tools::name(&mut item)?, arguments };
            conversation.push(Role::Assistant, vec![call]);
            Ok(())
        }
        Some("function_call_output") => {
            let id = item.required_text("call_id")?;
            let parts = read_content(&mut item, "output")?;
            conversation.push(Role::User, vec![Part::ToolResult { id, parts, is_error: false }]);
            Ok(())
        }
        Some("reasoning") => read_reasoning(&mut item, conversation),
        Some("item_reference") => {
            Err(item
                .invalid("type", "items of earlier responses are not stored; send them whole and set `store` to false"))
        }
        Some(kind) => {
            let shown: String = kind.chars().take(64).collect();
            Err(item.invalid("type", format!("items of type `{shown}` are not supported")))
        }
    }
}

fn read_message<'a>(item: &mut Fields<'a>, conversation: &mut Conversation<'a>) -> Read<()> {
    let role = item.name("role", &["user", "assistant", "system", "developer"])?;
    let parts = read_content(item, "content")?;
    match role {
        Some("user") => conversation.push(Role::User, parts),
        Some("assistant") => conversation.push_assistant(parts),
        Some(_) => {
            for part in parts {
                let Part::Text(text) = part else { return Err(item.invalid("content", "must be text")) };
                conversation.system.push(text.into());
            }
        }
        None => return Err(item.invalid("role", "is required")),
    }
    item.allow(&["id", "status", "phase"]);
    keep_rest(item, conversation);
    Ok(())
}

/// Reads reasoning of an earlier response. Without Anthropic's signature no provider accepts it.
fn read_reasoning<'a>(item: &mut Fields<'a>, conversation: &mut Conversation<'a>) -> Read<()> {
    let summary = item.list("summary", MAX_PARTS)?;
    let Some(encrypted) = item.text("encrypted_content")? else { return Ok(()) };
    let part = if let Some(data) = encrypted.strip_prefix(REDACTED) {
        Part::RedactedThinking(data)
    } else if let Some(signature) = encrypted.strip_prefix(SIGNED) {
        let text: String = summary.iter().filter_map(|part| part["text"].as_str()).collect();
        Part::Thinking { text: Cow::Owned(text), signature }
    } else {
        return Err(item.invalid("encrypted_content", "is not of a response of this API"));
    };
    conversation.push(Role::Assistant, vec![part]);
    Ok(())
}

/// Reads a content: a text, or a list of parts.
fn read_content<'a>(item: &mut Fields<'a>, name: &'static str) -> Read<Vec<Part<'a>>> {
    match item.value(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::Text(text)]),
        Some(_) => {
            let path = item.at(name);
            let parts = item.list(name, MAX_PARTS)?.iter().enumerate();
            parts.map(|(position, part)| read_part(part, format!("{path}[{position}]"))).collect()
        }
    }
}

fn read_part(value: &Value, path: String) -> Read<Part<'_>> {
    let mut part = Fields::new(value, path)?;
    match part.required_text("type")? {
        "input_text" | "output_text" | "text" => Ok(Part::Text(part.required_text("text")?)),
        "refusal" => Ok(Part::Text(part.required_text("refusal")?)),
        "input_image" => {
            part.refuse("file_id", "send the image itself")?;
            part.name("detail", &["auto", "low", "high"])?;
            let path = part.at("image_url");
            Ok(Part::Image(images::from_url(part.required_text("image_url")?, path)?))
        }
        _ => Err(InvalidRequest::at(
            part.at("type"),
            "must be input_text, output_text or input_image; files are not supported",
        )),
    }
}

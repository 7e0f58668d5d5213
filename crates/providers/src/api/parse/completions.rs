//! Reads requests for chat completions: <https://platform.openai.com/docs/api-reference/chat/create>

use super::{MAX_MESSAGES, MAX_PARTS, Parsed, keep_rest, max_output, model, output, service_tier, tools};
use crate::api::conversation::{Conversation, Part, breakpoint, cache_marks};
use crate::api::fields::{Fields, Read};
use crate::api::images;
use domain::Role;
use serde_json::Value;
use std::borrow::Cow;

pub(super) fn read(body: &Value) -> Read<Parsed<'_>> {
    let mut fields = Fields::new(body, "")?;
    let mut conversation = Conversation::default();
    let model = model(&mut fields)?;
    let streams = fields.flag("stream")?.unwrap_or(false);
    let includes_usage = match fields.value("stream_options") {
        Some(options) => Fields::new(options, "stream_options")?.flag("include_usage")?.unwrap_or(false),
        None => false,
    };
    let limits = [max_output(&mut fields, "max_completion_tokens")?, max_output(&mut fields, "max_tokens")?];
    refuse(&mut fields)?;
    fields.allow(&["metadata", "user", "safety_identifier", "prompt_cache_key"]);
    for (position, message) in fields.list("messages", MAX_MESSAGES)?.iter().enumerate() {
        read_message(message, format!("messages[{position}]"), &mut conversation)?;
    }
    read_tools(&mut fields, &mut conversation)?;
    if let Some(format) = fields.value("response_format") {
        conversation.output = output::of_completions(format)?;
    }
    conversation.stop = fields.texts("stop", 16)?;
    conversation.temperature = fields.number("temperature", 0.0..=2.0)?;
    conversation.top_p = fields.number("top_p", 0.0..=1.0)?;
    fields.number("frequency_penalty", -2.0..=2.0)?;
    fields.number("presence_penalty", -2.0..=2.0)?;
    fields.number("seed", -9.3e18..=1.9e19)?;
    conversation.effort = fields.text("reasoning_effort")?;
    conversation.verbosity = fields.name("verbosity", &["low", "medium", "high"])?;
    let mut native_field = fields.flag("logprobs")?.filter(|is_set| *is_set).map(|_| "logprobs");
    native_field =
        native_field.or(fields.whole("top_logprobs", 0..=20)?.filter(|count| *count > 0).map(|_| "top_logprobs"));
    if let Some(bias) = fields.value("logit_bias") {
        let bias = bias.as_object().filter(|bias| bias.len() <= 300);
        let bias = bias.ok_or_else(|| fields.invalid("logit_bias", "must be an object of at most 300 tokens"))?;
        native_field = native_field.or((!bias.is_empty()).then_some("logit_bias"));
    }
    fields.finish()?;
    let max_output = limits.into_iter().flatten().min();
    Ok(Parsed { model, streams, includes_usage, max_output, conversation, native_field })
}

/// Refuses what costs more, or keeps state.
fn refuse(fields: &mut Fields<'_>) -> Read<()> {
    fields.whole("n", 1..=1)?;
    fields.whole("best_of", 1..=1)?;
    fields.refuse("store", "nothing is stored for later requests")?;
    fields.refuse("audio", "only text is returned")?;
    fields.refuse("prediction", "rejected predictions would be billed")?;
    fields.refuse("web_search_options", "only functions of your own are")?;
    fields.refuse("functions", "use `tools`")?;
    fields.refuse("function_call", "use `tool_choice`")?;
    fields.name("prompt_cache_retention", &["in-memory", "in_memory"])?;
    service_tier(fields, &["auto", "default"])?;
    let modalities = fields.texts("modalities", 4)?;
    if modalities.iter().any(|modality| *modality != "text") {
        return Err(fields.invalid("modalities", "only text is returned"));
    }
    Ok(())
}

fn read_tools<'a>(fields: &mut Fields<'a>, conversation: &mut Conversation<'a>) -> Read<()> {
    for (position, tool) in fields.list("tools", tools::MAX_TOOLS)?.iter().enumerate() {
        let mut tool = Fields::new(tool, format!("tools[{position}]"))?;
        tools::only_functions(&mut tool, &["function"])?;
        let function = tool.value("function").ok_or_else(|| tool.invalid("function", "is required"))?;
        tools::definition(&mut Fields::new(function, tool.at("function"))?, "parameters", conversation)?;
        keep_rest(&tool, conversation);
        if let (Some(read), Some(control)) = (conversation.tools.last_mut(), tool.value("cache_control")) {
            read.cache = read.cache.max(cache_marks(control));
        }
    }
    tools::read_openai_choice(fields, Some("function"), conversation)
}

fn read_message<'a>(value: &'a Value, path: String, conversation: &mut Conversation<'a>) -> Read<()> {
    let mut message = Fields::new(value, path)?;
    let role = message.name("role", &["system", "developer", "user", "assistant", "tool"])?;
    let role = role.ok_or_else(|| message.invalid("role", "is required"))?;
    message.refuse("function_call", "use `tool_calls`")?;
    message.refuse("audio", "only text and images are")?;
    let mut parts = read_content(&mut message, conversation)?;
    let mark = breakpoint(value);
    match role {
        "system" | "developer" => {
            for part in parts.into_iter().chain(mark) {
                match part {
                    Part::Text(text) => conversation.system.push(text.into()),
                    Part::CacheBreakpoint(marks) => {
                        if let Some(last) = conversation.system.last_mut() {
                            last.cache = last.cache.max(marks);
                        }
                    }
                    _ => return Err(message.invalid("content", "must be text")),
                }
            }
        }
        "tool" => {
            let id = message.required_text("tool_call_id")?;
            // A result is marked as a whole.
            let (marks, parts): (Vec<_>, _) =
                parts.into_iter().partition(|part| matches!(part, Part::CacheBreakpoint(_)));
            let result = Part::ToolResult { id, parts, is_error: false };
            conversation.push(Role::User, [result].into_iter().chain(marks).chain(mark).collect());
        }
        "assistant" => {
            if let Some(refusal) = message.text("refusal")? {
                parts.push(Part::Text(refusal));
            }
            let mut all = read_thinking(&mut message)?;
            all.append(&mut parts);
            all.extend(read_calls(&mut message, conversation)?.into_iter().chain(mark));
            conversation.push(Role::Assistant, all);
        }
        _ => conversation.push(Role::User, parts.into_iter().chain(mark).collect()),
    }
    keep_rest(&message, conversation);
    Ok(())
}

/// Reads a content: a text, or a list of parts.
fn read_content<'a>(message: &mut Fields<'a>, conversation: &mut Conversation<'a>) -> Read<Vec<Part<'a>>> {
    match message.value("content") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::Text(text)]),
        Some(_) => {
            let path = message.at("content");
            let mut parts = Vec::new();
            for (position, part) in message.list("content", MAX_PARTS)?.iter().enumerate() {
                parts.push(read_part(part, format!("{path}[{position}]"), conversation)?);
                parts.extend(breakpoint(part));
            }
            Ok(parts)
        }
    }
}

fn read_part<'a>(value: &'a Value, path: String, conversation: &mut Conversation<'a>) -> Read<Part<'a>> {
    let mut part = Fields::new(value, path)?;
    let read = match part.required_text("type")? {
        "text" => Part::Text(part.required_text("text")?),
        "refusal" => Part::Text(part.required_text("refusal")?),
        "image_url" => {
            let image = part.value("image_url").ok_or_else(|| part.invalid("image_url", "is required"))?;
            let mut image = Fields::new(image, part.at("image_url"))?;
            image.name("detail", &["auto", "low", "high"])?;
            let path = image.at("url");
            let read = images::from_url(image.required_text("url")?, path)?;
            image.finish()?;
            Part::Image(read)
        }
        _ => return Err(part.invalid("type", "must be text or image_url; audio and files are not supported")),
    };
    keep_rest(&part, conversation);
    Ok(read)
}

/// Reads reasoning that was sent with its signature.
fn read_thinking<'a>(message: &mut Fields<'a>) -> Read<Vec<Part<'a>>> {
    let path = message.at("thinking_blocks");
    let blocks = message.list("thinking_blocks", MAX_PARTS)?.iter().enumerate();
    let read = blocks.map(|(position, block)| {
        let mut block = Fields::new(block, format!("{path}[{position}]"))?;
        match block.required_text("type")? {
            "thinking" => {
                let text = Cow::Borrowed(block.text("thinking")?.unwrap_or_default());
                Ok(Part::Thinking { text, signature: block.text("signature")?.unwrap_or_default() })
            }
            "redacted_thinking" => Ok(Part::RedactedThinking(block.required_text("data")?)),
            _ => Err(block.invalid("type", "must be thinking or redacted_thinking")),
        }
    });
    read.collect()
}

fn read_calls<'a>(message: &mut Fields<'a>, conversation: &mut Conversation<'a>) -> Read<Vec<Part<'a>>> {
    let path = message.at("tool_calls");
    let calls = message.list("tool_calls", MAX_PARTS)?.iter().enumerate();
    let read = calls.map(|(position, call)| {
        let mut call = Fields::new(call, format!("{path}[{position}]"))?;
        tools::only_functions(&mut call, &["function"])?;
        let id = call.required_text("id")?;
        let function = call.value("function").ok_or_else(|| call.invalid("function", "is required"))?;
        let mut function = Fields::new(function, call.at("function"))?;
        let arguments = Cow::Borrowed(function.text("arguments")?.unwrap_or_default());
        let name = tools::name(&mut function)?;
        keep_rest(&function, conversation);
        keep_rest(&call, conversation);
        Ok(Part::ToolCall { id, name, arguments })
    });
    read.collect()
}

//! Reads requests of Anthropic Messages: <https://docs.anthropic.com/en/api/messages>

use super::{MAX_MESSAGES, MAX_PARTS, Parsed, keep_rest, max_output, model, output, service_tier, tools};
use crate::api::conversation::{Conversation, Part, ToolChoice};
use crate::api::fields::{Fields, Read};
use crate::api::images;
use crate::api::strict;
use domain::Role;
use serde_json::Value;
use std::borrow::Cow;

pub(super) fn read(body: &Value) -> Read<Parsed<'_>> {
    let mut fields = Fields::new(body, "")?;
    let mut conversation = Conversation::default();
    let model = model(&mut fields)?;
    let streams = fields.flag("stream")?.unwrap_or(false);
    // Requests that only count tokens have no limit.
    let max_output = max_output(&mut fields, "max_tokens")?;
    fields.refuse("container", "no code is run")?;
    fields.refuse("mcp_servers", "only functions of your own are")?;
    fields.refuse("inference_geo", "it changes the price")?;
    fields.refuse("speed", "it changes the price")?;
    fields.refuse("fallbacks", "the response names the model that answered")?;
    fields.refuse("output_format", "use `output_config.format`")?;
    // Edits of the context only make a prompt shorter; they are left out, because they need a header of Anthropic's.
    fields.allow(&["metadata", "context_management"]);
    service_tier(&mut fields, &["auto", "standard_only"])?;
    read_cache_control(&mut fields)?;
    for part in read_blocks(&mut fields, "system", &mut conversation)? {
        let Part::Text(text) = part else { return Err(fields.invalid("system", "must be text")) };
        conversation.system.push(text.into());
    }
    for (position, message) in fields.list("messages", MAX_MESSAGES)?.iter().enumerate() {
        read_message(message, format!("messages[{position}]"), &mut conversation)?;
    }
    read_tools(&mut fields, &mut conversation)?;
    conversation.stop = fields.texts("stop_sequences", 100)?;
    conversation.temperature = fields.number("temperature", 0.0..=1.0)?;
    conversation.top_p = fields.number("top_p", 0.0..=1.0)?;
    fields.whole("top_k", 0..=1_000_000)?;
    read_thinking_setting(&mut fields, &mut conversation)?;
    if let Some(config) = fields.value("output_config") {
        let mut config = Fields::new(config, "output_config")?;
        conversation.effort = config.text("effort")?;
        if let Some(format) = config.value("format") {
            conversation.output = output::of_messages(format)?;
        }
        config.finish()?;
    }
    fields.finish()?;
    Ok(Parsed { model, streams, includes_usage: true, max_output, conversation, native_field: None })
}

/// Reads the mark of a cacheable prefix. Only the shorter lifetime is reserved for.
fn read_cache_control(fields: &mut Fields<'_>) -> Read<()> {
    if let Some(mark) = fields.value("cache_control") {
        let mut mark = Fields::new(mark, fields.at("cache_control"))?;
        mark.name("type", &["ephemeral"])?;
        mark.name("ttl", &["5m"])?;
        mark.finish()?;
    }
    Ok(())
}

fn read_thinking_setting<'a>(fields: &mut Fields<'a>, conversation: &mut Conversation<'a>) -> Read<()> {
    if let Some(setting) = fields.value("thinking") {
        let mut setting = Fields::new(setting, "thinking")?;
        let kind = setting.name("type", &["enabled", "disabled", "adaptive"])?;
        let budget = setting.whole("budget_tokens", 1_024..=1_000_000)?;
        conversation.thinks = matches!(kind, Some("enabled" | "adaptive"));
        conversation.thinking_budget = budget.filter(|_| kind == Some("enabled"));
        setting.name("display", &["summarized", "omitted"])?;
        setting.finish()?;
    }
    Ok(())
}

fn read_tools<'a>(fields: &mut Fields<'a>, conversation: &mut Conversation<'a>) -> Read<()> {
    for (position, tool) in fields.list("tools", tools::MAX_TOOLS)?.iter().enumerate() {
        let mut tool = Fields::new(tool, format!("tools[{position}]"))?;
        tools::only_functions(&mut tool, &["custom"])?;
        read_cache_control(&mut tool)?;
        tools::definition(&mut tool, "input_schema", conversation)?;
        // The request is only translated for OpenAI, which accepts fewer schemas.
        if let Some(tool) = conversation.tools.last_mut() {
            tool.strict =
                tool.strict.filter(|is_strict| !is_strict || tool.parameters.is_some_and(strict::openai_accepts));
        }
    }
    if let Some(choice) = fields.value("tool_choice") {
        let mut choice = Fields::new(choice, "tool_choice")?;
        let kind = choice.name("type", &["auto", "any", "tool", "none"])?;
        conversation.tool_choice = Some(match kind {
            Some("any") => ToolChoice::Required,
            Some("none") => ToolChoice::None,
            Some("tool") => ToolChoice::Named(choice.required_text("name")?),
            _ => ToolChoice::Auto,
        });
        conversation.parallel_calls = choice.flag("disable_parallel_tool_use")?.map(|is_disabled| !is_disabled);
    }
    tools::check_choice(conversation)
}

fn read_message<'a>(value: &'a Value, path: String, conversation: &mut Conversation<'a>) -> Read<()> {
    let mut message = Fields::new(value, path)?;
    let role = message.name("role", &["user", "assistant"])?;
    let parts = read_blocks(&mut message, "content", conversation)?;
    match role {
        Some("user") => conversation.push(Role::User, parts),
        Some("assistant") => conversation.push_assistant(parts),
        _ => return Err(message.invalid("role", "must be user or assistant")),
    }
    keep_rest(&message, conversation);
    Ok(())
}

/// Reads a content: a text, or a list of blocks.
fn read_blocks<'a>(
    fields: &mut Fields<'a>,
    name: &'static str,
    conversation: &mut Conversation<'a>,
) -> Read<Vec<Part<'a>>> {
    match fields.value(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::Text(text)]),
        Some(_) => {
            let path = fields.at(name);
            let blocks = fields.list(name, MAX_PARTS)?.iter().enumerate();
            blocks.map(|(position, block)| read_block(block, format!("{path}[{position}]"), conversation)).collect()
        }
    }
}

fn read_block<'a>(value: &'a Value, path: String, conversation: &mut Conversation<'a>) -> Read<Part<'a>> {
    let mut block = Fields::new(value, path)?;
    read_cache_control(&mut block)?;
    let read = match block.required_text("type")? {
        "text" => Part::Text(block.required_text("text")?),
        "image" => {
            let source = block.value("source").ok_or_else(|| block.invalid("source", "is required"))?;
            let mut source = Fields::new(source, block.at("source"))?;
            match source.name("type", &["base64", "url"])? {
                Some("url") => {
                    let path = source.at("url");
                    let image = images::from_url(source.required_text("url")?, path)?;
                    source.finish()?;
                    Part::Image(image)
                }
                _ => {
                    let (media_type, path) = (source.required_text("media_type")?, source.at("media_type"));
                    let image = images::from_data(media_type, source.required_text("data")?, path)?;
                    source.finish()?;
                    Part::Image(image)
                }
            }
        }
        "tool_use" => {
            let input = block.value("input").filter(|input| input.is_object());
            let input = input.ok_or_else(|| block.invalid("input", "must be an object"))?;
            let id = block.required_text("id")?;
            Part::ToolCall { id, name: tools::name(&mut block)?, arguments: Cow::Owned(input.to_string()) }
        }
        "tool_result" => {
            let id = block.required_text("tool_use_id")?;
            let is_error = block.flag("is_error")?.unwrap_or(false);
            Part::ToolResult { id, parts: read_result(&mut block, conversation)?, is_error }
        }
        "thinking" => Part::Thinking {
            text: Cow::Borrowed(block.text("thinking")?.unwrap_or_default()),
            signature: block.text("signature")?.unwrap_or_default(),
        },
        "redacted_thinking" => Part::RedactedThinking(block.required_text("data")?),
        kind => {
            let shown: String = kind.chars().take(64).collect();
            return Err(block.invalid("type", format!("blocks of type `{shown}` are not supported")));
        }
    };
    keep_rest(&block, conversation);
    Ok(read)
}

/// Reads the content of a tool's result. Results hold texts and images only.
fn read_result<'a>(block: &mut Fields<'a>, conversation: &mut Conversation<'a>) -> Read<Vec<Part<'a>>> {
    let is_nested = |value: &Value| ["tool_use", "tool_result"].iter().any(|kind| value["type"] == *kind);
    if block.value("content").and_then(Value::as_array).is_some_and(|parts| parts.iter().any(is_nested)) {
        return Err(block.invalid("content", "must hold texts and images"));
    }
    read_blocks(block, "content", conversation)
}

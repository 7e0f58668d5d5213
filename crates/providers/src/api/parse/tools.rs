//! Reads definitions of tools and the choice of one.

use super::keep_rest;
use crate::api::conversation::{Conversation, Tool, ToolChoice, cache_marks};
use crate::api::error::InvalidRequest;
use crate::api::fields::{Fields, Read};
use domain::CacheMarks;
use serde_json::Value;

/// Maximum number of tools of a request.
pub(super) const MAX_TOOLS: usize = 128;

/// Returns a tool's name, which every provider accepts.
pub(super) fn name<'a>(fields: &mut Fields<'a>) -> Read<&'a str> {
    let name = fields.required_text("name")?;
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 128 || !name.chars().all(is_valid) {
        return Err(fields.invalid("name", "must have 1 to 128 letters, digits, `_` or `-`"));
    }
    Ok(name)
}

/// Reads a tool whose schema is in the field `schema`.
pub(super) fn definition<'a>(
    fields: &mut Fields<'a>,
    schema: &'static str,
    conversation: &mut Conversation<'a>,
) -> Read<()> {
    let parameters = fields.value(schema);
    if parameters.is_some_and(|parameters| !parameters.is_object()) {
        return Err(fields.invalid(schema, "must be a JSON schema"));
    }
    let tool = Tool {
        name: name(fields)?,
        description: fields.text("description")?,
        parameters,
        strict: fields.flag("strict")?,
        cache: fields.value("cache_control").map_or(CacheMarks::None, cache_marks),
    };
    conversation.tools.push(tool);
    keep_rest(fields, conversation);
    Ok(())
}

/// Refuses a tool that the provider runs itself.
pub(super) fn only_functions(fields: &mut Fields<'_>, allowed: &[&str]) -> Read<()> {
    let kind = fields.text("type")?.unwrap_or(allowed[0]);
    if allowed.contains(&kind) {
        return Ok(());
    }
    let shown: String = kind.chars().take(64).collect();
    let message = format!("tools of type `{shown}` are not supported; only functions of your own are");
    Err(fields.invalid("type", message))
}

/// Reads `tool_choice` and `parallel_tool_calls` of both OpenAI formats; `nested` is the field that holds the name in a choice that is an
/// object.
pub(super) fn read_openai_choice<'a>(
    fields: &mut Fields<'a>,
    nested: Option<&str>,
    conversation: &mut Conversation<'a>,
) -> Read<()> {
    if let Some(choice) = fields.value("tool_choice") {
        conversation.tool_choice = Some(openai_choice(choice, nested)?);
    }
    conversation.parallel_calls = fields.flag("parallel_tool_calls")?;
    check_choice(conversation)
}

fn openai_choice<'a>(value: &'a Value, nested: Option<&str>) -> Read<ToolChoice<'a>> {
    let holder = nested.map_or(value, |field| &value[field]);
    match (value.as_str(), holder["name"].as_str()) {
        (Some("auto"), _) => Ok(ToolChoice::Auto),
        (Some("none"), _) => Ok(ToolChoice::None),
        (Some("required"), _) => Ok(ToolChoice::Required),
        (None, Some(name)) if value["type"] == "function" => Ok(ToolChoice::Named(name)),
        _ => Err(InvalidRequest::at("tool_choice", "must be auto, none, required or a function")),
    }
}

/// Refuses a choice of a tool that isn't offered.
pub(super) fn check_choice(conversation: &Conversation<'_>) -> Read<()> {
    match conversation.tool_choice {
        Some(ToolChoice::Named(name)) if !conversation.tools.iter().any(|tool| tool.name == name) => {
            Err(InvalidRequest::at("tool_choice", "names a tool that is not in `tools`"))
        }
        Some(ToolChoice::Required) if conversation.tools.is_empty() => {
            Err(InvalidRequest::at("tool_choice", "requires `tools`"))
        }
        _ => Ok(()),
    }
}

//! Translates a conversation to a chat completion.

use crate::api::conversation::{Conversation, Image, OutputFormat, Part, ToolChoice, Turn};
use crate::api::strict;
use domain::{Model, Role};
use serde_json::{Map, Value, json};

/// Maximum budget of reasoning tokens that each effort corresponds to.
const EFFORTS: [(u64, &str); 3] = [(4_096, "low"), (16_384, "medium"), (u64::MAX, "high")];

/// Returns the body of a chat completion without its model and limit.
pub(crate) fn completions(conversation: &Conversation<'_>, model: &Model) -> Value {
    let mut messages = Vec::new();
    let system = conversation.system_text();
    if !system.is_empty() {
        messages.push(json!({"role": "system", "content": system}));
    }
    for turn in &conversation.turns {
        match turn.role {
            Role::User => add_user(turn, &mut messages),
            Role::Assistant => add_assistant(turn, &mut messages),
        }
    }
    let mut body = Map::new();
    body.insert("messages".into(), messages.into());
    add_tools(conversation, &mut body);
    if let Some(format) = &conversation.output {
        body.insert("response_format".into(), response_format(format));
    }
    if !conversation.stop.is_empty() {
        body.insert("stop".into(), json!(conversation.stop));
    }
    for (name, value) in [("temperature", conversation.temperature), ("top_p", conversation.top_p)] {
        body.extend(value.map(|value| (name.to_owned(), value.clone())));
    }
    if let Some(effort) = effort(conversation, model) {
        body.insert("reasoning_effort".into(), effort.into());
    }
    if let Some(verbosity) = conversation.verbosity {
        body.insert("verbosity".into(), verbosity.into());
    }
    Value::Object(body)
}

/// Returns the effort, or the one that corresponds to a budget, if the model has it.
fn effort<'a>(conversation: &Conversation<'a>, model: &Model) -> Option<&'a str> {
    let of_budget = |budget: u64| EFFORTS.iter().find(|(max, _)| budget <= *max).map(|(_, effort)| *effort);
    let effort = conversation.effort.or_else(|| conversation.thinking_budget.and_then(of_budget))?;
    model.efforts.iter().any(|known| known == effort).then_some(effort)
}

/// Adds the messages of a user's turn: results of tools first, because they must follow their calls. Such results are text, so their images
/// are shown by the user.
fn add_user(turn: &Turn<'_>, messages: &mut Vec<Value>) {
    let mut shown = Vec::new();
    for part in &turn.parts {
        match part {
            Part::ToolResult { id, parts, .. } => {
                let texts: Vec<&str> = parts.iter().filter_map(text_of).collect();
                messages.push(json!({"role": "tool", "tool_call_id": id, "content": texts.concat()}));
                shown.extend(parts.iter().filter(|part| matches!(part, Part::Image(_))));
            }
            Part::Text("") | Part::CacheBreakpoint(_) => {}
            part => shown.push(part),
        }
    }
    let content = match shown.as_slice() {
        [] => return,
        [Part::Text(text)] => json!(text),
        parts => parts.iter().filter_map(|part| content_part(part)).collect(),
    };
    messages.push(json!({"role": "user", "content": content}));
}

/// Adds the message of the model's turn. Calls and their results must follow each other, so that messages are joined, with a blank line between
/// their texts.
fn add_assistant(turn: &Turn<'_>, messages: &mut Vec<Value>) {
    let mut texts: Vec<String> = turn
        .parts
        .split(|part| *part == Part::MessageEnd)
        .map(|parts| parts.iter().filter_map(text_of).collect())
        .collect();
    texts.retain(|text| !text.is_empty());
    let text = texts.join("\n\n");
    let calls: Vec<Value> = turn.parts.iter().filter_map(call).collect();
    let mut message = json!({"role": "assistant", "content": text});
    if !calls.is_empty() {
        if text.is_empty() {
            message["content"] = Value::Null;
        }
        message["tool_calls"] = calls.into();
    } else if text.is_empty() {
        return;
    }
    messages.push(message);
}

fn text_of<'a>(part: &Part<'a>) -> Option<&'a str> {
    if let Part::Text(text) = part { Some(text) } else { None }
}

fn content_part(part: &Part<'_>) -> Option<Value> {
    match part {
        Part::Text(text) => Some(json!({"type": "text", "text": text})),
        Part::Image(image) => {
            let url = match image {
                Image::Url(url) => (*url).to_owned(),
                Image::Data { media_type, data } => format!("data:{media_type};base64,{data}"),
            };
            Some(json!({"type": "image_url", "image_url": {"url": url}}))
        }
        _ => None,
    }
}

fn call(part: &Part<'_>) -> Option<Value> {
    let Part::ToolCall { id, name, arguments } = part else { return None };
    let arguments = if arguments.is_empty() { "{}" } else { arguments };
    Some(json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}))
}

fn add_tools(conversation: &Conversation<'_>, body: &mut Map<String, Value>) {
    if conversation.tools.is_empty() {
        return;
    }
    let tools = conversation.tools.iter().map(|tool| {
        let mut function = json!({"name": tool.name});
        if let Some(description) = tool.description {
            function["description"] = description.into();
        }
        if let Some(parameters) = tool.parameters {
            function["parameters"] = parameters.clone();
        }
        let is_default = || conversation.is_strict_by_default && tool.parameters.is_some_and(strict::openai_accepts);
        if let Some(strict) = tool.strict.or_else(|| is_default().then_some(true)) {
            function["strict"] = strict.into();
        }
        json!({"type": "function", "function": function})
    });
    body.insert("tools".into(), tools.collect());
    if let Some(choice) = conversation.tool_choice {
        let choice = match choice {
            ToolChoice::Auto => json!("auto"),
            ToolChoice::None => json!("none"),
            ToolChoice::Required => json!("required"),
            ToolChoice::Named(name) => json!({"type": "function", "function": {"name": name}}),
        };
        body.insert("tool_choice".into(), choice);
    }
    if let Some(parallel) = conversation.parallel_calls {
        body.insert("parallel_tool_calls".into(), parallel.into());
    }
}

fn response_format(format: &OutputFormat<'_>) -> Value {
    match format {
        OutputFormat::JsonObject => json!({"type": "json_object"}),
        OutputFormat::JsonSchema { name, description, schema, strict } => {
            let mut json_schema = json!({"name": name, "schema": schema, "strict": strict});
            if let Some(description) = description {
                json_schema["description"] = (*description).into();
            }
            json!({"type": "json_schema", "json_schema": json_schema})
        }
    }
}

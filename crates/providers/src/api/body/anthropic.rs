//! Translates a conversation to Anthropic's Messages.

use crate::api::conversation::{Conversation, Image, OutputFormat, Part, SystemText, Tool, ToolChoice};
use crate::api::strict;
use domain::{CacheMarks, Model, Tokens};
use serde_json::{Map, Value, json};

/// The default of temperature and `top_p` in both formats. It is also Anthropic's highest temperature; chat completions go up to 2.
const DEFAULT_SAMPLING: f64 = 1.0;

/// Returns the body of a message without its model and limit.
pub(crate) fn messages(conversation: &Conversation<'_>, model: &Model, max_output: Tokens) -> Value {
    let mut body = Map::new();
    let limits = strict::AnthropicLimits::of(conversation);
    if let Some(system) = system(conversation, &limits) {
        body.insert("system".into(), system);
    }
    let turns = conversation.turns.iter().filter_map(|turn| {
        let blocks = blocks(&turn.parts);
        (!blocks.is_empty()).then(|| json!({"role": turn.role.as_str(), "content": content(blocks)}))
    });
    body.insert("messages".into(), turns.collect());
    add_tools(conversation, &limits, &mut body);
    if !conversation.stop.is_empty() {
        body.insert("stop_sequences".into(), json!(conversation.stop));
    }
    body.extend(sampling(conversation).map(|(name, value)| (name.to_owned(), value.clone())));
    let mut config = Map::new();
    if let Some(effort) = conversation.effort.filter(|effort| model.efforts.iter().any(|known| known == effort)) {
        config.insert("effort".into(), effort.into());
    }
    if let Some(OutputFormat::JsonSchema { schema, strict: true, .. }) = &conversation.output
        && limits.accept(schema)
    {
        config.insert("format".into(), json!({"type": "json_schema", "schema": schema}));
    }
    if !config.is_empty() {
        body.insert("output_config".into(), Value::Object(config));
    }
    if let Some(budget) = conversation.thinking_budget.filter(|budget| *budget < max_output.0) {
        body.insert("thinking".into(), json!({"type": "enabled", "budget_tokens": budget}));
    }
    Value::Object(body)
}

/// Returns the temperature, otherwise `top_p`. Claude Opus 4.1 and later models reject a request with both, and the latest ones reject either, so
/// a default, which clients of chat completions send all the time, is left out.
fn sampling<'a>(conversation: &Conversation<'a>) -> Option<(&'static str, &'a Value)> {
    let fields = [("temperature", conversation.temperature), ("top_p", conversation.top_p)];
    let mut sent = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    sent.find(|(_, value)| value.as_f64().is_some_and(|value| value < DEFAULT_SAMPLING))
}

/// Returns the system prompt, with an instruction where the output must be JSON that isn't guaranteed by a strict schema: one text, or blocks if a
/// part of it is to be cached.
fn system(conversation: &Conversation<'_>, limits: &strict::AnthropicLimits) -> Option<Value> {
    let instruction = match &conversation.output {
        Some(OutputFormat::JsonObject) => {
            "Respond with one valid JSON object and nothing else: no explanation and no code fence.".to_owned()
        }
        Some(OutputFormat::JsonSchema { schema, description, strict, .. }) if !strict || !limits.accept(schema) => {
            let description = description.map(|text| format!(" It is described as: {text}")).unwrap_or_default();
            format!(
                "Respond with JSON that matches this JSON schema and nothing else: no explanation and no code fence.{description}\n{schema}"
            )
        }
        _ => String::new(),
    };
    let texts = conversation.system.iter().copied().chain([SystemText::from(instruction.as_str())]);
    let texts: Vec<_> = texts.filter(|part| !part.text.is_empty()).collect();
    if texts.iter().all(|part| part.cache == CacheMarks::None) {
        let texts: Vec<&str> = texts.iter().map(|part| part.text).collect();
        return (!texts.is_empty()).then(|| texts.join("\n\n").into());
    }
    let blocks = texts.iter().map(|part| {
        let mut block = json!({"type": "text", "text": part.text});
        set_breakpoint(&mut block, part.cache);
        block
    });
    Some(blocks.collect())
}

/// Marks the end of a prefix to cache.
fn set_breakpoint(block: &mut Value, marks: CacheMarks) {
    match marks {
        CacheMarks::None => {}
        CacheMarks::Short => block["cache_control"] = json!({"type": "ephemeral"}),
        CacheMarks::Long => block["cache_control"] = json!({"type": "ephemeral", "ttl": "1h"}),
    }
}

/// Returns a content: the text alone if there is nothing else.
fn content(mut blocks: Vec<Value>) -> Value {
    match blocks.as_mut_slice() {
        [block] if block["type"] == "text" && block.get("cache_control").is_none() => block["text"].take(),
        _ => blocks.into(),
    }
}

/// Returns the blocks of parts. Reasoning can't be marked, and neither can what has no block.
fn blocks(parts: &[Part<'_>]) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    let mut can_be_marked = false;
    for part in parts {
        if let Part::CacheBreakpoint(marks) = part {
            if let Some(last) = blocks.last_mut().filter(|_| can_be_marked) {
                set_breakpoint(last, *marks);
            }
            continue;
        }
        let block = block(part);
        can_be_marked = block.is_some() && !matches!(part, Part::Thinking { .. } | Part::RedactedThinking(_));
        blocks.extend(block);
    }
    blocks
}

/// Returns a block. Empty texts are rejected, and so is reasoning without a signature.
fn block(part: &Part<'_>) -> Option<Value> {
    match part {
        Part::Text("") => None,
        Part::Text(text) => Some(json!({"type": "text", "text": text})),
        Part::Image(Image::Url(url)) => Some(json!({"type": "image", "source": {"type": "url", "url": url}})),
        Part::Image(Image::Data { media_type, data }) => {
            Some(json!({"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}))
        }
        Part::ToolCall { id, name, arguments } => {
            Some(json!({"type": "tool_use", "id": call_id(id), "name": name, "input": input(arguments)}))
        }
        Part::ToolResult { id, parts, is_error } => {
            let blocks: Vec<Value> = parts.iter().filter_map(block).collect();
            let mut result = json!({"type": "tool_result", "tool_use_id": call_id(id), "content": content(blocks)});
            if *is_error {
                result["is_error"] = true.into();
            }
            Some(result)
        }
        Part::Thinking { signature: "", .. } => None,
        Part::Thinking { text, signature } => {
            Some(json!({"type": "thinking", "thinking": text, "signature": signature}))
        }
        Part::RedactedThinking(data) => Some(json!({"type": "redacted_thinking", "data": data})),
        Part::CacheBreakpoint(_) | Part::MessageEnd => None,
    }
}

/// Returns a call's arguments as an object. Models sometimes write none, or invalid JSON.
fn input(arguments: &str) -> Value {
    match serde_json::from_str(arguments) {
        Ok(input @ Value::Object(_)) => input,
        _ if arguments.trim().is_empty() => json!({}),
        _ => json!({"arguments": arguments}),
    }
}

/// Returns an id with only the characters that Anthropic accepts.
fn call_id(id: &str) -> String {
    let accepted = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    id.chars().map(|c| if accepted(c) { c } else { '_' }).collect()
}

/// Adds the tools. Calls in the conversation need a definition even if no tool is offered any more.
fn add_tools(conversation: &Conversation<'_>, limits: &strict::AnthropicLimits, body: &mut Map<String, Value>) {
    let calls = conversation.turns.iter().flat_map(|turn| &turn.parts).filter_map(|part| match part {
        Part::ToolCall { name, .. } => Some(*name),
        _ => None,
    });
    let mut tools: Vec<Value> = conversation.tools.iter().map(|tool| definition(tool, limits)).collect();
    let mut choice = conversation.tool_choice;
    if tools.is_empty() {
        let mut names: Vec<&str> = calls.collect();
        names.sort_unstable();
        names.dedup();
        tools.extend(names.into_iter().map(|name| json!({"name": name, "input_schema": {"type": "object"}})));
        choice = Some(ToolChoice::None);
    }
    if tools.is_empty() {
        return;
    }
    body.insert("tools".into(), tools.into());
    let mut choice = match choice {
        Some(ToolChoice::None) => json!({"type": "none"}),
        Some(ToolChoice::Required) => json!({"type": "any"}),
        Some(ToolChoice::Named(name)) => json!({"type": "tool", "name": name}),
        Some(ToolChoice::Auto) => json!({"type": "auto"}),
        None if conversation.parallel_calls.is_some() => json!({"type": "auto"}),
        None => return,
    };
    if let Some(parallel) = conversation.parallel_calls.filter(|_| choice["type"] != "none") {
        choice["disable_parallel_tool_use"] = (!parallel).into();
    }
    body.insert("tool_choice".into(), choice);
}

fn definition(tool: &Tool<'_>, limits: &strict::AnthropicLimits) -> Value {
    let schema = tool.parameters.cloned().unwrap_or_else(|| json!({"type": "object", "properties": {}}));
    let mut definition = json!({"name": tool.name, "input_schema": schema});
    if let Some(description) = tool.description {
        definition["description"] = description.into();
    }
    if tool.strict == Some(true) && tool.parameters.is_some_and(|schema| limits.accept(schema)) {
        definition["strict"] = true.into();
    }
    set_breakpoint(&mut definition, tool.cache);
    definition
}

//! Tools of requests, the calls that the fake makes of them, and JSON that matches a schema.

use crate::format::{Format, count_words};
use serde_json::{Value, json};

/// A tool that a request offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    pub name: String,
    pub schema: Value,
}

/// Number of characters of arguments that are sent at once, and billed as one token.
const PIECE: usize = 8;

/// Reads the tools of either format.
pub(crate) fn read(body: &Value) -> Vec<Tool> {
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    tools
        .iter()
        .map(|tool| {
            let function = if tool["function"].is_object() { &tool["function"] } else { tool };
            let schema = function.get("parameters").or_else(|| function.get("input_schema"));
            Tool { name: text(&function["name"]), schema: schema.cloned().unwrap_or_default() }
        })
        .collect()
}

/// Reads the schema that the output must match.
pub(crate) fn output_schema(body: &Value) -> Option<Value> {
    let format = [&body["response_format"], &body["output_config"]["format"]];
    let format =
        format.into_iter().find(|format| format["type"] == "json_schema" || format["type"] == "json_object")?;
    Some(
        format
            .get("schema")
            .or_else(|| format["json_schema"].get("schema"))
            .cloned()
            .unwrap_or_else(|| json!({"type": "object"})),
    )
}

/// Counts the tokens of definitions: their words and the names of their fields.
pub(crate) fn count(value: &Value) -> u64 {
    match value {
        Value::String(text) => count_words(text),
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(|value| 1 + count(value)).sum(),
        _ => 0,
    }
}

/// Returns the tools that are called: those that a message's directives name, as far as they are offered and may be called, or the one that the
/// request demands.
pub(crate) fn called(body: &Value, tools: &[Tool], named: &[String]) -> Vec<(String, String)> {
    let choice = &body["tool_choice"];
    let kind = choice.as_str().or(choice["type"].as_str()).unwrap_or("auto");
    let demanded = choice["name"].as_str().or(choice["function"]["name"].as_str());
    let names: Vec<&str> = match (kind, demanded) {
        ("none", _) => Vec::new(),
        (_, Some(name)) => vec![name],
        _ if !named.is_empty() => named.iter().map(String::as_str).collect(),
        ("any" | "required", _) => tools.iter().take(1).map(|tool| tool.name.as_str()).collect(),
        _ => Vec::new(),
    };
    let tools = names.into_iter().filter_map(|name| tools.iter().find(|tool| tool.name == name));
    tools.map(|tool| (tool.name.clone(), example(&tool.schema).to_string())).collect()
}

/// Splits JSON into the pieces that are sent.
pub(crate) fn pieces(json: &str) -> Vec<String> {
    let characters: Vec<char> = json.chars().collect();
    characters.chunks(PIECE).map(|piece| piece.iter().collect()).collect()
}

/// Returns a value that matches a schema.
pub(crate) fn example(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    let kind = schema["type"].as_str().or(schema["type"][0].as_str());
    match kind {
        Some("string") => "Zürich \"7\"".into(),
        Some("integer") => 7.into(),
        Some("number") => json!(0.5),
        Some("boolean") => true.into(),
        Some("array") => json!([example(&schema["items"])]),
        Some("null") => Value::Null,
        _ => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            Value::Object(properties.map(|(name, schema)| (name.clone(), example(schema))).collect())
        }
    }
}

/// Returns the text of a message's calls, which is billed: names and arguments.
pub(crate) fn text_of_calls(message: &Value) -> String {
    let of_completions = message["tool_calls"].as_array().into_iter().flatten();
    let of_completions = of_completions
        .map(|call| format!(" {} {}", text(&call["function"]["name"]), text(&call["function"]["arguments"])));
    let blocks = message["content"].as_array().into_iter().flatten().filter(|block| block["type"] == "tool_use");
    let of_messages = blocks.map(|block| format!(" {} {}", text(&block["name"]), block["input"]));
    of_completions.chain(of_messages).collect()
}

/// Returns what is wrong with calls and results: each call is answered by the next message, and each result answers a call.
pub(crate) fn violation(format: Format, body: &Value) -> Option<String> {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut open: Vec<String> = Vec::new();
    for (n, message) in messages.iter().enumerate() {
        let blocks = || message["content"].as_array().into_iter().flatten();
        let results: Vec<String> = match format {
            Format::Completions if message["role"] == "tool" => vec![text(&message["tool_call_id"])],
            Format::Completions => Vec::new(),
            Format::Messages => blocks()
                .filter(|block| block["type"] == "tool_result")
                .map(|block| text(&block["tool_use_id"]))
                .collect(),
        };
        for result in &results {
            let Some(at) = open.iter().position(|id| id == result) else {
                return Some(format!("messages.{n}: a tool result without its call"));
            };
            open.remove(at);
        }
        if !open.is_empty() && (format == Format::Messages || message["role"] != "tool") {
            return Some(format!("messages.{n}: tool calls without results"));
        }
        open.extend(match format {
            Format::Completions => {
                message["tool_calls"].as_array().into_iter().flatten().map(|call| text(&call["id"])).collect::<Vec<_>>()
            }
            Format::Messages => {
                blocks().filter(|block| block["type"] == "tool_use").map(|block| text(&block["id"])).collect()
            }
        });
        if format == Format::Messages && !open.is_empty() && read(body).is_empty() {
            return Some("tools: required because messages hold tool calls".to_owned());
        }
    }
    (!open.is_empty()).then(|| "the last tool calls have no results".to_owned())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_match_their_schema() {
        let schema = json!({"type": "object", "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]},
            "tags": {"type": "array", "items": {"type": "boolean"}},
        }});
        let expected = json!({"city": "Zürich \"7\"", "days": 7, "unit": "C", "tags": [true]});
        assert_eq!(example(&schema), expected);
        assert_eq!(pieces(&expected.to_string()).concat(), expected.to_string());
        let body = json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]});
        let tools = read(&body);
        assert_eq!(called(&body, &tools, &["f".into(), "unknown".into()]), [("f".into(), expected.to_string())]);
        assert!(called(&json!({"tool_choice": {"type": "none"}}), &tools, &["f".into()]).is_empty());
        assert_eq!(called(&json!({"tool_choice": "required"}), &tools, &[]).len(), 1);
    }

    #[test]
    fn calls_need_results_and_results_need_calls() {
        let call = json!({"role": "assistant", "content": null, "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]});
        let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "7"});
        let check = |messages: Value| violation(Format::Completions, &json!({"messages": messages}));
        assert_eq!(check(json!([call, result("a")])), None);
        for messages in
            [json!([call]), json!([call, result("b")]), json!([result("a")]), json!([call, {"role": "user"}])]
        {
            assert!(check(messages.clone()).is_some(), "{messages}");
        }
        let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]});
        let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "7"}]});
        let check = |body: Value| violation(Format::Messages, &body);
        assert_eq!(check(json!({"messages": [call, result], "tools": [{"name": "f"}]})), None);
        assert!(check(json!({"messages": [call, result]})).is_some());
        assert!(check(json!({"messages": [call], "tools": [{"name": "f"}]})).is_some());
    }
}

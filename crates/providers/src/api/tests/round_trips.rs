//! A conversation that is translated there and back has the same content.

use super::*;
use crate::api::conversation::{Conversation, Part};
use proptest::prelude::*;

/// A message of a user or the model, without what only one format has.
#[derive(Clone, Debug)]
enum Entry {
    User(String),
    Assistant(String),
    /// A call with its result.
    Call(String, String),
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let text = "[a-zé🦀 \"\\\\]{0,12}[a-z]";
    let one = prop_oneof![
        text.prop_map(Entry::User),
        text.prop_map(Entry::Assistant),
        (text, text).prop_map(|(argument, result)| Entry::Call(argument, result)),
    ];
    prop::collection::vec(one, 1..8)
}

fn completion(entries: &[Entry]) -> Value {
    let mut messages =
        vec![json!({"role": "system", "content": "Be brief."}), json!({"role": "user", "content": "Start."})];
    for (n, entry) in entries.iter().enumerate() {
        match entry {
            Entry::User(text) => messages.push(json!({"role": "user", "content": text})),
            Entry::Assistant(text) => messages.push(json!({"role": "assistant", "content": text})),
            Entry::Call(argument, result) => {
                let id = format!("call_{n}");
                let function = json!({"name": "f", "arguments": json!({"x": argument}).to_string()});
                messages.push(json!({"role": "assistant", "content": null, "tool_calls": [{"id": id, "type": "function", "function": function}]}));
                messages.push(json!({"role": "tool", "tool_call_id": id, "content": result}));
            }
        }
    }
    json!({"model": "m", "messages": messages, "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]})
}

/// The content of a conversation, in order.
fn summary(conversation: &Conversation<'_>) -> Vec<String> {
    let mut out = vec![conversation.system_text()];
    for turn in &conversation.turns {
        let role = turn.role.as_str();
        out.extend(turn.parts.iter().map(|part| match part {
            Part::ToolResult { id, parts, .. } => {
                let text: String =
                    parts.iter().map(|part| if let Part::Text(text) = part { *text } else { "" }).collect();
                format!("{role} result {id} {text}")
            }
            part => format!("{role} {part:?}").replace("Borrowed", "").replace("Owned", ""),
        }));
    }
    out.extend(conversation.tools.iter().map(|tool| format!("{} {:?}", tool.name, tool.parameters)));
    out
}

/// Translates a request for a provider of the other format, and reads the body as a request of that format.
fn translated(request: &ApiRequest) -> ApiRequest {
    let (wire_format, format) = match request.format() {
        ApiFormat::Messages => (WireFormat::OpenAi, ApiFormat::ChatCompletions),
        _ => (WireFormat::Anthropic, ApiFormat::Messages),
    };
    parse(format, &request.body(&model(wire_format), Tokens(99)))
}

proptest! {
    #[test]
    fn conversations_survive_translation(entries in entries()) {
        let request = parse(ApiFormat::ChatCompletions, &completion(&entries));
        let there = translated(&request);
        prop_assert_eq!(summary(&there.conversation()), summary(&request.conversation()));
        let back = translated(&there);
        // Chat completions hold one text per message of the model.
        let again = translated(&back);
        prop_assert_eq!(summary(&again.conversation()), summary(&back.conversation()));
        prop_assert_eq!(back.conversation().tools.len(), 1);
        prop_assert_eq!((there.max_output(), back.max_output()), (Some(Tokens(99)), Some(Tokens(99))));
        prop_assert!(there.estimate(&model(WireFormat::OpenAi)).counted.0.abs_diff(request.estimate(&model(WireFormat::OpenAi)).counted.0) < 40);
    }

    /// Usage is the same in every format.
    #[test]
    fn usage_survives_translation(input in 0_u64..9_000, read in 0_u64..9_000, write in 0_u64..9_000, output in 0_u64..9_000, part in 0_u64..9_000) {
        let usage = Usage {
            input: Tokens(input), cache_read: Tokens(read), cache_write: Tokens(write), output: Tokens(output),
            reasoning: Tokens(part.min(output)), ..Usage::default()
        };
        for format in FORMATS {
            let response = ApiResponse::new(&hello(format, false), &model(WireFormat::Demo), "1", 0);
            let reported = response.whole(&usage)["usage"].clone();
            let count = |pointer: &str| reported.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
            let (prompt, cached, out) = match format {
                ApiFormat::ChatCompletions => (count("/prompt_tokens"), count("/prompt_tokens_details/cached_tokens"), count("/completion_tokens")),
                ApiFormat::Responses => (count("/input_tokens"), count("/input_tokens_details/cached_tokens"), count("/output_tokens")),
                ApiFormat::Messages => (
                    count("/input_tokens") + count("/cache_read_input_tokens") + count("/cache_creation_input_tokens"),
                    count("/cache_read_input_tokens"), count("/output_tokens"),
                ),
            };
            prop_assert_eq!((prompt, cached, out), (input + read + write, read, output));
        }
    }

    #[test]
    fn any_bytes_are_parsed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in FORMATS {
            let _ = ApiRequest::parse(format, &bytes);
        }
    }
}

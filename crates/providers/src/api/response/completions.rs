//! Writes chat completions: <https://platform.openai.com/docs/api-reference/chat-streaming>

use super::usage;
use crate::api::request::ApiRequest;
use crate::tool_calls::ToolCalls;
use crate::{Chunk, End};
use domain::{Model, Usage, WireFormat};
use serde_json::{Map, Value, json};

/// A chat completion that is being written. Deltas of a provider of the same format are passed through; otherwise they are made from chunks.
#[derive(Debug)]
pub(super) struct Completions {
    id: String,
    created: i64,
    model: String,
    includes_usage: bool,
    is_same_format: bool,
    has_begun: bool,
    /// Whether events were passed through, so that the chunks read from them are not written again.
    passes: bool,
    end: Option<End>,
    /// The message so far.
    message: Map<String, Value>,
    calls: ToolCalls,
    logprobs: Map<String, Value>,
    fingerprint: Value,
    /// Reasoning whose signature wasn't read yet.
    unsigned: String,
}

impl Completions {
    pub fn new(request: &ApiRequest, model: &Model, id: &str, created_unix: i64) -> Self {
        Self {
            id: format!("chatcmpl-{id}"),
            created: created_unix,
            model: model.name.0.clone(),
            includes_usage: request.includes_usage(),
            is_same_format: model.provider.wire_format == WireFormat::OpenAi,
            has_begun: false,
            passes: false,
            end: None,
            message: Map::new(),
            calls: ToolCalls::default(),
            logprobs: Map::new(),
            fingerprint: Value::Null,
            unsigned: String::new(),
        }
    }

    pub fn push(&mut self, chunk: &Chunk) -> Vec<Value> {
        let delta = match chunk {
            Chunk::End(end) => {
                self.end = Some(*end);
                return Vec::new();
            }
            Chunk::Event(event) if self.is_same_format => return self.pass(event),
            Chunk::Event(event) => match self.thinking_block(event) {
                Some(block) => json!({"thinking_blocks": [block]}),
                None => return Vec::new(),
            },
            Chunk::Id(_) | Chunk::Usage(_) => return Vec::new(),
            _ if self.passes => return Vec::new(),
            Chunk::Text(text) => json!({"content": text}),
            Chunk::Reasoning(text) => {
                self.unsigned.push_str(text);
                json!({"reasoning_content": text})
            }
            Chunk::ToolCall { index, id, name } => {
                let function = json!({"name": name, "arguments": ""});
                json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]})
            }
            Chunk::ToolArguments { index, json } => {
                json!({"tool_calls": [{"index": index, "function": {"arguments": json}}]})
            }
        };
        self.write(delta, Value::Null)
    }

    /// Passes an event's first choice through. The reason for the end and the usage are written at the end.
    fn pass(&mut self, event: &Value) -> Vec<Value> {
        self.passes = true;
        if self.fingerprint.is_null() {
            self.fingerprint = event["system_fingerprint"].clone();
        }
        let choice = &event["choices"][0];
        // Some servers send the whole message in place of deltas; others add it to the deltas.
        let message = choice["message"].as_object().filter(|_| self.message.is_empty());
        let Some(mut delta) = choice["delta"].as_object().or(message).cloned() else {
            return Vec::new();
        };
        delta.remove("role");
        let is_empty = |value: &Value| {
            value.is_null()
                || value.as_str().is_some_and(str::is_empty)
                || value.as_array().is_some_and(|items| items.is_empty())
        };
        delta.retain(|_, value| !is_empty(value));
        let logprobs = choice["logprobs"].clone();
        if delta.is_empty() && logprobs.is_null() {
            return Vec::new();
        }
        self.write(Value::Object(delta), logprobs)
    }

    fn write(&mut self, mut delta: Value, logprobs: Value) -> Vec<Value> {
        let mut events = self.begin();
        self.complete_calls(&mut delta);
        merge(&mut self.message, &delta);
        merge(&mut self.logprobs, &logprobs);
        events.push(self.chunk(delta, logprobs, Value::Null));
        events
    }

    /// Numbers tool calls from zero in their order, whatever index a server sends, and adds the type that it left out of a new one.
    fn complete_calls(&mut self, delta: &mut Value) {
        let Some(calls) = delta.get_mut("tool_calls").and_then(Value::as_array_mut) else { return };
        for (call, position) in calls.iter_mut().zip(0..) {
            let (index, begins) = self.calls.locate(position, call);
            let Some(call) = call.as_object_mut() else { continue };
            call.insert("index".into(), index.into());
            if begins {
                call.entry("type").or_insert_with(|| "function".into());
            }
        }
    }

    fn begin(&mut self) -> Vec<Value> {
        if self.has_begun {
            return Vec::new();
        }
        self.has_begun = true;
        vec![self.chunk(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null, Value::Null)]
    }

    fn chunk(&self, delta: Value, logprobs: Value, finish_reason: Value) -> Value {
        let choice = json!({"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason});
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "system_fingerprint": self.fingerprint, "choices": [choice],
        });
        if self.includes_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn finish_reason(&self) -> &'static str {
        let is_refusal = self.message.get("refusal").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        match self.end.unwrap_or(End::Complete) {
            End::Length => "length",
            End::Filtered => "content_filter",
            End::Refused if !is_refusal && !self.is_same_format => "content_filter",
            End::Complete | End::Refused | End::ToolCall if self.message.contains_key("tool_calls") => "tool_calls",
            End::Complete | End::Refused | End::ToolCall => "stop",
        }
    }

    /// Returns a signed reasoning block, or an encrypted one, of an event of Anthropic's format.
    fn thinking_block(&mut self, event: &Value) -> Option<Value> {
        match (event["delta"]["signature"].as_str(), event["content_block"]["type"].as_str()) {
            (Some(signature), _) => {
                let text = std::mem::take(&mut self.unsigned);
                Some(json!({"type": "thinking", "thinking": text, "signature": signature}))
            }
            (_, Some("redacted_thinking")) => Some(event["content_block"].clone()),
            _ => None,
        }
    }

    pub fn finish(&mut self, usage: &Usage) -> Vec<Value> {
        let mut events = self.begin();
        events.push(self.chunk(json!({}), Value::Null, self.finish_reason().into()));
        if self.includes_usage {
            let mut last = self.chunk(json!({}), Value::Null, Value::Null);
            last["choices"] = json!([]);
            last["usage"] = usage::completions(usage);
            events.push(last);
        }
        events
    }

    pub fn whole(&mut self, usage: &Usage) -> Value {
        let finish_reason = self.finish_reason();
        let mut message = std::mem::take(&mut self.message);
        message.insert("role".into(), "assistant".into());
        for name in ["content", "refusal"] {
            message.entry(name).or_insert(Value::Null);
        }
        if message["content"].is_null() && !message.contains_key("tool_calls") && message["refusal"].is_null() {
            message.insert("content".into(), "".into());
        }
        for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(call) = call.as_object_mut() {
                call.remove("index");
            }
        }
        let logprobs = std::mem::take(&mut self.logprobs);
        let logprobs = if logprobs.is_empty() { Value::Null } else { Value::Object(logprobs) };
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": [{"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}],
            "usage": usage::completions(usage),
        })
    }
}

/// Adds a delta to an object: texts and lists are appended, tool calls are merged by index, and anything else is replaced.
fn merge(object: &mut Map<String, Value>, delta: &Value) {
    for (name, value) in delta.as_object().into_iter().flatten() {
        match (object.get_mut(name), value) {
            (_, Value::Null) => {}
            (Some(Value::String(text)), Value::String(more)) => text.push_str(more),
            (Some(Value::Array(calls)), Value::Array(more)) if name == "tool_calls" => merge_calls(calls, more),
            (None, Value::Array(more)) if name == "tool_calls" => {
                let mut calls = Vec::new();
                merge_calls(&mut calls, more);
                object.insert(name.clone(), calls.into());
            }
            (Some(Value::Array(items)), Value::Array(more)) => items.extend(more.iter().cloned()),
            (Some(Value::Object(inner)), Value::Object(_)) => merge(inner, value),
            _ => drop(object.insert(name.clone(), value.clone())),
        }
    }
}

fn merge_calls(calls: &mut Vec<Value>, more: &[Value]) {
    for delta in more {
        let known = calls.iter_mut().find(|call| call["index"] == delta["index"]).and_then(Value::as_object_mut);
        let Some(known) = known else {
            let mut call = delta.clone();
            if call["function"]["arguments"].is_null() {
                call["function"]["arguments"] = "".into();
            }
            calls.push(call);
            continue;
        };
        // Some servers repeat the id, type and name in each delta.
        let arguments = delta["function"]["arguments"].as_str().unwrap_or_default();
        if let Some(Value::String(text)) = known.get_mut("function").map(|function| &mut function["arguments"]) {
            text.push_str(arguments);
        }
    }
}

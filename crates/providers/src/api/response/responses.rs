//! Writes responses: <https://platform.openai.com/docs/api-reference/responses-streaming>

use super::usage;
use crate::api::parse::{REDACTED, SIGNED};
use crate::api::request::ApiRequest;
use crate::{Chunk, End};
use domain::{Model, Usage, WireFormat};
use serde_json::{Value, json};

/// A response that is being written, from the chunks of any provider.
#[derive(Debug)]
pub(super) struct Responses {
    id: String,
    /// The response without its output.
    head: Value,
    is_anthropic: bool,
    /// Number of the next event.
    sequence: u64,
    has_begun: bool,
    end: Option<End>,
    items: Vec<Item>,
}

/// An item of the output. The last text or reasoning is open until something else follows; tool calls are open until the end.
#[derive(Debug)]
struct Item {
    id: String,
    kind: Kind,
    text: String,
    is_done: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Reasoning { encrypted: Option<String> },
    Message,
    Call { index: u64, call_id: String, name: String },
}

impl Item {
    fn json(&self) -> Value {
        let status = if self.is_done { "completed" } else { "in_progress" };
        match &self.kind {
            Kind::Reasoning { encrypted } => {
                let summary = if self.text.is_empty() { json!([]) } else { json!([summary(&self.text)]) };
                let mut item = json!({"id": self.id, "type": "reasoning", "summary": summary});
                if let Some(encrypted) = encrypted {
                    item["encrypted_content"] = encrypted.as_str().into();
                }
                item
            }
            Kind::Message => {
                let content = if self.is_done { json!([output_text(&self.text)]) } else { json!([]) };
                json!({"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content})
            }
            Kind::Call { call_id, name, .. } => json!({
                "id": self.id, "type": "function_call", "status": status, "call_id": call_id, "name": name,
                "arguments": self.text,
            }),
        }
    }
}

fn summary(text: &str) -> Value {
    json!({"type": "summary_text", "text": text})
}

fn output_text(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

impl Responses {
    pub fn new(request: &ApiRequest, model: &Model, id: &str, created_unix: i64) -> Self {
        let sent = request.json();
        let or = |value: &Value, default: Value| if value.is_null() { default } else { value.clone() };
        let head = json!({
            "id": format!("resp_{id}"), "object": "response", "created_at": created_unix, "status": "in_progress",
            "background": false, "error": null, "incomplete_details": null, "instructions": sent["instructions"],
            "max_output_tokens": sent["max_output_tokens"], "max_tool_calls": null, "model": model.name, "output": [],
            "parallel_tool_calls": or(&sent["parallel_tool_calls"], true.into()), "previous_response_id": null,
            "prompt_cache_key": sent["prompt_cache_key"],
            "reasoning": or(&sent["reasoning"], json!({"effort": null, "summary": null})),
            "safety_identifier": sent["safety_identifier"], "service_tier": "default", "store": false,
            "temperature": or(&sent["temperature"], json!(1.0)),
            "text": or(&sent["text"], json!({"format": {"type": "text"}})),
            "tool_choice": or(&sent["tool_choice"], "auto".into()), "tools": or(&sent["tools"], json!([])),
            "top_logprobs": 0, "top_p": or(&sent["top_p"], json!(1.0)), "truncation": "disabled", "usage": null,
            "user": sent["user"], "metadata": or(&sent["metadata"], json!({})),
        });
        let is_anthropic = model.provider.wire_format == WireFormat::Anthropic;
        let (id, items) = (id.to_owned(), Vec::new());
        Self { id, head, is_anthropic, sequence: 0, has_begun: false, end: None, items }
    }

    pub fn push(&mut self, chunk: &Chunk) -> Vec<Value> {
        let mut out = Vec::new();
        match chunk {
            Chunk::End(end) => self.end = Some(*end),
            Chunk::Event(event) if self.is_anthropic => self.read_signature(event, &mut out),
            Chunk::Event(_) | Chunk::Id(_) | Chunk::Usage(_) => {}
            Chunk::Text(text) => self.write_text(text, &mut out),
            Chunk::Reasoning(text) => self.write_reasoning(text, &mut out),
            Chunk::ToolCall { index, id, name } => {
                self.close_text(&mut out);
                self.open("fc", Kind::Call { index: *index, call_id: id.clone(), name: name.clone() }, &mut out);
            }
            Chunk::ToolArguments { index, json } => self.write_arguments(*index, json, &mut out),
        }
        out
    }

    /// Reads Anthropic's signature of the reasoning so far, or encrypted reasoning.
    fn read_signature(&mut self, event: &Value, out: &mut Vec<Value>) {
        let block = &event["content_block"];
        if block["type"] == "redacted_thinking" {
            self.close_text(out);
            let encrypted = format!("{REDACTED}{}", block["data"].as_str().unwrap_or_default());
            self.open("rs", Kind::Reasoning { encrypted: Some(encrypted) }, out);
            self.close_text(out);
        } else if let Some(signature) = event["delta"]["signature"].as_str() {
            self.open_reasoning(out);
            if let Some(Item { kind: Kind::Reasoning { encrypted }, .. }) = self.items.last_mut() {
                *encrypted = Some(format!("{SIGNED}{signature}"));
            }
            self.close_text(out);
        }
    }

    fn open_reasoning(&mut self, out: &mut Vec<Value>) {
        if !self.items.last().is_some_and(|item| !item.is_done && matches!(item.kind, Kind::Reasoning { .. })) {
            self.close_text(out);
            self.open("rs", Kind::Reasoning { encrypted: None }, out);
        }
    }

    fn write_reasoning(&mut self, text: &str, out: &mut Vec<Value>) {
        self.open_reasoning(out);
        let at = self.items.len() - 1;
        if self.items[at].text.is_empty() {
            let part = json!({"summary_index": 0, "part": summary("")});
            out.push(self.item_event("response.reasoning_summary_part.added", at, part));
        }
        self.items[at].text.push_str(text);
        let delta = json!({"summary_index": 0, "delta": text});
        out.push(self.item_event("response.reasoning_summary_text.delta", at, delta));
    }

    fn write_text(&mut self, text: &str, out: &mut Vec<Value>) {
        if !self.items.last().is_some_and(|item| !item.is_done && item.kind == Kind::Message) {
            self.close_text(out);
            self.open("msg", Kind::Message, out);
            let at = self.items.len() - 1;
            let part = json!({"content_index": 0, "part": output_text("")});
            out.push(self.item_event("response.content_part.added", at, part));
        }
        let at = self.items.len() - 1;
        self.items[at].text.push_str(text);
        let delta = json!({"content_index": 0, "delta": text, "logprobs": []});
        out.push(self.item_event("response.output_text.delta", at, delta));
    }

    fn write_arguments(&mut self, index: u64, json: &str, out: &mut Vec<Value>) {
        let is_call = |item: &Item| matches!(item.kind, Kind::Call { index: call, .. } if call == index);
        if let Some(at) = self.items.iter().position(is_call) {
            self.items[at].text.push_str(json);
            out.push(self.item_event("response.function_call_arguments.delta", at, json!({"delta": json})));
        }
    }

    fn begin(&mut self, out: &mut Vec<Value>) {
        if !self.has_begun {
            self.has_begun = true;
            for name in ["response.created", "response.in_progress"] {
                out.push(self.event(name, json!({"response": self.head})));
            }
        }
    }

    fn open(&mut self, prefix: &str, kind: Kind, out: &mut Vec<Value>) {
        self.begin(out);
        let at = self.items.len();
        let id = format!("{prefix}_{}_{at}", self.id);
        self.items.push(Item { id, kind, text: String::new(), is_done: false });
        let item = json!({"output_index": at, "item": self.items[at].json()});
        out.push(self.event("response.output_item.added", item));
    }

    /// Ends the open text or reasoning.
    fn close_text(&mut self, out: &mut Vec<Value>) {
        let is_open = |item: &Item| !item.is_done && !matches!(item.kind, Kind::Call { .. });
        if let Some(at) = self.items.iter().rposition(is_open) {
            self.close(at, out);
        }
    }

    fn close(&mut self, at: usize, out: &mut Vec<Value>) {
        let text = self.items[at].text.clone();
        match &self.items[at].kind {
            Kind::Reasoning { .. } if text.is_empty() => {}
            Kind::Reasoning { .. } => {
                let done = json!({"summary_index": 0, "text": text});
                out.push(self.item_event("response.reasoning_summary_text.done", at, done));
                let part = json!({"summary_index": 0, "part": summary(&text)});
                out.push(self.item_event("response.reasoning_summary_part.done", at, part));
            }
            Kind::Message => {
                let done = json!({"content_index": 0, "text": text, "logprobs": []});
                out.push(self.item_event("response.output_text.done", at, done));
                let part = json!({"content_index": 0, "part": output_text(&text)});
                out.push(self.item_event("response.content_part.done", at, part));
            }
            Kind::Call { name, .. } => {
                let done = json!({"name": name, "arguments": text});
                out.push(self.item_event("response.function_call_arguments.done", at, done));
            }
        }
        self.items[at].is_done = true;
        let item = json!({"output_index": at, "item": self.items[at].json()});
        out.push(self.event("response.output_item.done", item));
    }

    fn item_event(&mut self, name: &str, at: usize, mut fields: Value) -> Value {
        fields["item_id"] = self.items[at].id.as_str().into();
        fields["output_index"] = at.into();
        self.event(name, fields)
    }

    fn event(&mut self, name: &str, mut fields: Value) -> Value {
        fields["type"] = name.into();
        fields["sequence_number"] = self.sequence.into();
        self.sequence += 1;
        fields
    }

    /// Ends all items and returns the response as it is at its end.
    fn ended(&mut self, usage: &Usage, out: &mut Vec<Value>) -> Value {
        self.begin(out);
        for at in 0..self.items.len() {
            if let Kind::Call { .. } = self.items[at].kind
                && self.items[at].text.is_empty()
            {
                self.items[at].text.push_str("{}");
            }
            if !self.items[at].is_done {
                self.close(at, out);
            }
        }
        let has_text = self.items.iter().any(|item| item.kind == Kind::Message);
        let reason = match self.end {
            Some(End::Length) => Some("max_output_tokens"),
            Some(End::Filtered) => Some("content_filter"),
            Some(End::Refused) if self.is_anthropic || !has_text => Some("content_filter"),
            Some(End::Complete | End::Refused | End::ToolCall) | None => None,
        };
        let mut response = self.head.clone();
        response["output"] = self.items.iter().map(Item::json).collect();
        response["usage"] = usage::responses(usage);
        response["status"] = if reason.is_some() { "incomplete" } else { "completed" }.into();
        if let Some(reason) = reason {
            response["incomplete_details"] = json!({"reason": reason});
        }
        response
    }

    pub fn finish(&mut self, usage: &Usage) -> Vec<Value> {
        let mut out = Vec::new();
        let response = self.ended(usage, &mut out);
        let name = if response["status"] == "completed" { "response.completed" } else { "response.incomplete" };
        out.push(self.event(name, json!({"response": response})));
        out
    }

    pub fn whole(&mut self, usage: &Usage) -> Value {
        self.ended(usage, &mut Vec::new())
    }

    /// Ends the stream with an error: clients of the protocol read `response.failed`, and the SDKs throw at `error`.
    pub fn fail(&mut self, kind: &str, message: &str, error: &Value) -> Vec<Value> {
        let mut out = Vec::new();
        self.begin(&mut out);
        let mut response = self.head.clone();
        response["status"] = "failed".into();
        response["output"] = self.items.iter().map(Item::json).collect();
        response["error"] = json!({"code": kind, "message": message});
        out.push(self.event("response.failed", json!({"response": response})));
        let fields = json!({"code": error["code"], "message": message, "param": null, "error": error});
        out.push(self.event("error", fields));
        out
    }
}

//! Writes Anthropic's messages: <https://docs.anthropic.com/en/api/messages-streaming>

use super::usage;
use super::whole_message::WholeMessage;
use crate::api::request::ApiRequest;
use crate::{Chunk, End};
use domain::{Model, Usage, WireFormat};
use serde_json::{Value, json};

/// A message that is being written. Blocks of a provider of the same format are passed through, and blocks that it didn't begin or end are
/// begun and ended; otherwise blocks are made from chunks.
#[derive(Debug)]
pub(super) struct Messages {
    id: String,
    model: String,
    is_same_format: bool,
    has_begun: bool,
    /// Whether events were passed through, so that the chunks read from them are not written again.
    passes: bool,
    end: Option<End>,
    stop_reason: Value,
    stop_sequence: Value,
    usage: Usage,
    open: Option<Open>,
    /// Number of blocks that were begun.
    blocks: u64,
    has_call: bool,
    /// Output that arrived while a tool call was open. Blocks are sent one at a time, and a call may last until the end.
    held: Vec<Held>,
    whole: Option<WholeMessage>,
}

/// The block that was begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Open {
    /// Text or reasoning made from chunks.
    Made(&'static str),
    /// A tool call made from chunks.
    Call(u64),
    /// A block of the provider, with its index and type.
    Passed(u64, String),
}

#[derive(Debug)]
enum Held {
    Text(String),
    Thinking(String),
    Call { index: u64, id: String, name: String, json: String },
}

impl Messages {
    pub fn new(request: &ApiRequest, model: &Model, id: &str) -> Self {
        Self {
            id: format!("msg_{id}"),
            model: model.name.0.clone(),
            is_same_format: model.provider.wire_format == WireFormat::Anthropic,
            has_begun: false,
            passes: false,
            end: None,
            stop_reason: Value::Null,
            stop_sequence: Value::Null,
            usage: Usage::default(),
            open: None,
            blocks: 0,
            has_call: false,
            held: Vec::new(),
            whole: (!request.streams()).then(WholeMessage::default),
        }
    }

    pub fn push(&mut self, chunk: &Chunk) -> Vec<Value> {
        let mut out = Vec::new();
        match chunk {
            Chunk::End(end) => self.end = Some(*end),
            Chunk::Usage(reported) => self.usage = reported.usage,
            Chunk::Event(event) if self.is_same_format => self.pass(event, &mut out),
            Chunk::Event(_) | Chunk::Id(_) => {}
            _ if self.passes => {}
            Chunk::Text(text) => self.write("text", text, &mut out),
            Chunk::Reasoning(text) => self.write("thinking", text, &mut out),
            Chunk::ToolCall { index, id, name } => self.write_call(*index, id, name, &mut out),
            Chunk::ToolArguments { index, json } => self.write_arguments(*index, json, &mut out),
        }
        self.sent(out)
    }

    /// Passes an event through. What ends the message is written at the end.
    fn pass(&mut self, event: &Value, out: &mut Vec<Value>) {
        let kind = event["type"].as_str().unwrap_or_default();
        self.passes |= kind.starts_with("message_") || kind.starts_with("content_block_");
        let index = event["index"].as_u64().unwrap_or(0);
        match kind {
            "message_start" => self.begin(&event["message"]["usage"], out),
            "content_block_start" if event["content_block"].is_object() => {
                let block = &event["content_block"];
                let kind = block["type"].as_str().unwrap_or_default().to_owned();
                self.open(Open::Passed(index, kind), block.clone(), out);
            }
            "content_block_delta" => self.pass_delta(index, &event["delta"], out),
            "content_block_stop" if matches!(self.open, Some(Open::Passed(open, _)) if open == index) => {
                self.close(out)
            }
            "message_delta" => {
                for (known, name) in
                    [(&mut self.stop_reason, "stop_reason"), (&mut self.stop_sequence, "stop_sequence")]
                {
                    if event["delta"][name].is_string() {
                        *known = event["delta"][name].clone();
                    }
                }
            }
            _ => {}
        }
    }

    fn pass_delta(&mut self, index: u64, delta: &Value, out: &mut Vec<Value>) {
        let needed = match delta["type"].as_str() {
            Some("text_delta") => "text",
            Some("thinking_delta" | "signature_delta") => "thinking",
            Some(_) => "",
            None => return,
        };
        let is_open = matches!(&self.open, Some(Open::Passed(open, kind)) if *open == index && (needed.is_empty() || kind == needed));
        if !is_open {
            if needed.is_empty() {
                return;
            }
            self.open(Open::Passed(index, needed.to_owned()), empty_block(needed), out);
        }
        self.delta(delta.clone(), out);
    }

    /// Writes text or reasoning.
    fn write(&mut self, kind: &'static str, text: &str, out: &mut Vec<Value>) {
        if matches!(self.open, Some(Open::Call(_))) {
            match (self.held.last_mut(), kind) {
                (Some(Held::Text(held)), "text") | (Some(Held::Thinking(held)), "thinking") => held.push_str(text),
                (_, "text") => self.held.push(Held::Text(text.to_owned())),
                _ => self.held.push(Held::Thinking(text.to_owned())),
            }
            return;
        }
        if self.open != Some(Open::Made(kind)) {
            self.open(Open::Made(kind), empty_block(kind), out);
        }
        self.delta(json!({"type": format!("{kind}_delta"), kind: text}), out);
    }

    fn write_call(&mut self, index: u64, id: &str, name: &str, out: &mut Vec<Value>) {
        if matches!(self.open, Some(Open::Call(_))) {
            self.held.push(Held::Call { index, id: id.to_owned(), name: name.to_owned(), json: String::new() });
            return;
        }
        self.has_call = true;
        self.open(Open::Call(index), json!({"type": "tool_use", "id": id, "name": name, "input": {}}), out);
    }

    fn write_arguments(&mut self, index: u64, json: &str, out: &mut Vec<Value>) {
        if self.open == Some(Open::Call(index)) {
            self.delta(json!({"type": "input_json_delta", "partial_json": json}), out);
            return;
        }
        for held in &mut self.held {
            match held {
                Held::Call { index: call, json: arguments, .. } if *call == index => arguments.push_str(json),
                _ => {}
            }
        }
    }

    fn begin(&mut self, reported: &Value, out: &mut Vec<Value>) {
        if self.has_begun {
            return;
        }
        self.has_begun = true;
        let mut usage = usage::messages(&Usage { output: domain::Tokens(0), ..self.usage });
        for name in ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"] {
            if let Some(count) = reported[name].as_u64() {
                usage[name] = count.into();
            }
        }
        out.push(json!({"type": "message_start", "message": {
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [], "stop_reason": null,
            "stop_sequence": null, "usage": usage,
        }}));
    }

    fn open(&mut self, open: Open, block: Value, out: &mut Vec<Value>) {
        self.close(out);
        self.begin(&Value::Null, out);
        self.has_call |= block["type"] == "tool_use";
        out.push(json!({"type": "content_block_start", "index": self.blocks, "content_block": block}));
        self.open = Some(open);
        self.blocks += 1;
    }

    fn delta(&self, delta: Value, out: &mut Vec<Value>) {
        out.push(json!({"type": "content_block_delta", "index": self.blocks.saturating_sub(1), "delta": delta}));
    }

    fn close(&mut self, out: &mut Vec<Value>) {
        if self.open.take().is_some() {
            out.push(json!({"type": "content_block_stop", "index": self.blocks.saturating_sub(1)}));
        }
    }

    /// Writes what was held back.
    fn release(&mut self, out: &mut Vec<Value>) {
        self.close(out);
        for held in std::mem::take(&mut self.held) {
            match held {
                Held::Text(text) => self.write("text", &text, out),
                Held::Thinking(text) => self.write("thinking", &text, out),
                Held::Call { index, id, name, json } => {
                    self.write_call(index, &id, &name, out);
                    self.write_arguments(index, &json, out);
                }
            }
            self.close(out);
        }
    }

    /// Returns events for sending, and adds them to the whole message if it is sent in one piece.
    fn sent(&mut self, out: Vec<Value>) -> Vec<Value> {
        if let Some(whole) = &mut self.whole {
            out.iter().for_each(|event| whole.add(event));
        }
        out
    }

    fn stop_reason(&self) -> Value {
        if self.stop_reason.is_string() {
            return self.stop_reason.clone();
        }
        match self.end.unwrap_or(End::Complete) {
            End::Length => "max_tokens",
            End::Refused | End::Filtered => "refusal",
            End::Complete | End::ToolCall if self.has_call => "tool_use",
            End::Complete | End::ToolCall => "end_turn",
        }
        .into()
    }

    pub fn finish(&mut self, usage: &Usage) -> Vec<Value> {
        let mut out = Vec::new();
        self.begin(&Value::Null, &mut out);
        self.release(&mut out);
        out.push(json!({
            "type": "message_delta", "delta": {"stop_reason": self.stop_reason(), "stop_sequence": self.stop_sequence},
            "usage": usage::messages(usage),
        }));
        out.push(json!({"type": "message_stop"}));
        self.sent(out)
    }

    pub fn whole(&mut self, usage: &Usage) -> Value {
        let mut rest = Vec::new();
        self.release(&mut rest);
        self.sent(rest);
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model,
            "content": self.whole.take().unwrap_or_default().content(),
            "stop_reason": self.stop_reason(), "stop_sequence": self.stop_sequence, "usage": usage::messages(usage),
        })
    }
}

/// Returns the beginning of a block.
fn empty_block(kind: &str) -> Value {
    match kind {
        "thinking" => json!({"type": "thinking", "thinking": "", "signature": ""}),
        _ => json!({"type": "text", "text": ""}),
    }
}

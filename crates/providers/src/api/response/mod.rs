//! Writes a provider's chunks in the caller's format.

mod completions;
mod messages;
mod responses;
mod usage;
mod whole_message;

use super::error::error_body;
use super::format::ApiFormat;
use super::request::ApiRequest;
use crate::Chunk;
use completions::Completions;
use domain::{Model, Usage};
use messages::Messages;
use responses::Responses;
use serde_json::Value;

/// A response in the caller's format: frames of a stream, or a whole body.
#[derive(Debug)]
pub struct ApiResponse {
    format: ApiFormat,
    streams: bool,
    writer: Writer,
    output: String,
    /// The id of the response, from which ids of tool calls are made where a provider sent none.
    id: String,
}

#[derive(Debug)]
enum Writer {
    Completions(Completions),
    Responses(Responses),
    Messages(Messages),
}

impl ApiResponse {
    /// Begins a response by `model`, which may be another one than was requested. `id` is unique, of letters, digits, `-` and `_`; each format
    /// puts its prefix before it.
    #[must_use]
    pub fn new(request: &ApiRequest, model: &Model, id: &str, created_unix: i64) -> Self {
        let writer = match request.format() {
            ApiFormat::ChatCompletions => Writer::Completions(Completions::new(request, model, id, created_unix)),
            ApiFormat::Responses => Writer::Responses(Responses::new(request, model, id, created_unix)),
            ApiFormat::Messages => Writer::Messages(Messages::new(request, model, id)),
        };
        let (format, streams) = (request.format(), request.streams());
        Self { format, streams, writer, output: String::new(), id: id.to_owned() }
    }

    /// Adds a chunk. Returns the complete frames that it makes; none if the response isn't a stream.
    pub fn push(&mut self, chunk: &Chunk) -> Vec<String> {
        match chunk {
            Chunk::Text(text) | Chunk::Reasoning(text) | Chunk::ToolArguments { json: text, .. } => {
                self.output.push_str(text)
            }
            Chunk::ToolCall { name, .. } => self.output.push_str(name),
            Chunk::Id(_) | Chunk::Usage(_) | Chunk::End(_) | Chunk::Event(_) => {}
        }
        let made_up = match chunk {
            Chunk::ToolCall { index, id, name } if id.is_empty() => {
                Some(Chunk::ToolCall { index: *index, id: format!("call_{}_{index}", self.id), name: name.clone() })
            }
            _ => None,
        };
        let chunk = made_up.as_ref().unwrap_or(chunk);
        let events = match &mut self.writer {
            Writer::Completions(writer) => writer.push(chunk),
            Writer::Responses(writer) => writer.push(chunk),
            Writer::Messages(writer) => writer.push(chunk),
        };
        self.frames(events)
    }

    /// Ends the response with its usage, and returns the last frames.
    pub fn finish(&mut self, usage: &Usage) -> Vec<String> {
        let events = match &mut self.writer {
            Writer::Completions(writer) => writer.finish(usage),
            Writer::Responses(writer) => writer.finish(usage),
            Writer::Messages(writer) => writer.finish(usage),
        };
        let mut frames = self.frames(events);
        if self.streams && self.format == ApiFormat::ChatCompletions {
            frames.push("data: [DONE]\n\n".to_owned());
        }
        frames
    }

    /// Returns the body of a response that isn't a stream.
    #[must_use]
    pub fn whole(mut self, usage: &Usage) -> Value {
        match &mut self.writer {
            Writer::Completions(writer) => writer.whole(usage),
            Writer::Responses(writer) => writer.whole(usage),
            Writer::Messages(writer) => writer.whole(usage),
        }
    }

    /// Ends a stream with an error, and returns its frames.
    pub fn fail(&mut self, status: u16, kind: &str, message: &str) -> Vec<String> {
        let body = error_body(self.format, status, kind, message, None);
        let events = match &mut self.writer {
            Writer::Completions(_) | Writer::Messages(_) => vec![body],
            Writer::Responses(writer) => writer.fail(kind, message, &body["error"]),
        };
        self.frames(events)
    }

    /// Returns everything that was output: text, reasoning, names and arguments of tool calls. It is what an estimate counts if the provider
    /// reported no usage.
    #[must_use]
    pub fn output_text(&self) -> &str {
        &self.output
    }

    /// Writes events as frames.
    fn frames(&self, events: Vec<Value>) -> Vec<String> {
        if !self.streams {
            return Vec::new();
        }
        let frame = |event: Value| match (self.format, event["type"].as_str()) {
            (ApiFormat::ChatCompletions, _) | (_, None) => format!("data: {event}\n\n"),
            (_, Some(name)) => format!("event: {name}\ndata: {event}\n\n"),
        };
        events.into_iter().map(frame).collect()
    }
}

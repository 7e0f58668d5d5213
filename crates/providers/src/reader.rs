//! Shared by both wire formats: the reader of a stream's events, and the state of a response's end.

use crate::error::{ErrorBody, Fault};
use crate::{Chunk, End};
use serde_json::Value;

/// Reads the events of one stream as chunks. Unknown events, unknown fields and null are ignored.
pub(crate) trait Reader: Send {
    /// Reads an event's JSON object; `name` is the event's name. Chunks that precede an error are appended to `out` as well.
    fn read(&mut self, name: &str, value: &Value, out: &mut Vec<Chunk>) -> Result<(), Fault>;

    /// Reads the `[DONE]` marker.
    fn done(&mut self, out: &mut Vec<Chunk>) -> Result<(), Fault>;

    /// Ends a body that ended cleanly before the format's own end. Appends `End` only if the response is complete anyway.
    fn close(&mut self, out: &mut Vec<Chunk>) -> Result<(), Fault>;

    /// Returns the end of a response that is complete although the connection broke off: its reason for ending and its final usage were
    /// read.
    fn end_if_broken(&self) -> Option<End>;
}

/// The known facts about the end of a response.
#[derive(Default)]
pub(crate) struct Ending {
    reason: Option<End>,
    /// Whether anything was output: text, reasoning or a tool call.
    pub has_output: bool,
    has_text: bool,
    calls_tool: bool,
    is_refusal: bool,
}

impl Ending {
    /// Records the reason for the end, in the terms of either format. A missing one or null never replaces a reason, and "stop" never replaces a more
    /// specific one.
    pub fn note_reason(&mut self, reason: &str) -> Result<(), Fault> {
        let end = match reason.to_ascii_lowercase().as_str() {
            "" | "null" => return Ok(()),
            "error" | "network_error" | "server_error" | "insufficient_system_resource" => {
                return Err(Fault::Reported(ErrorBody::named(reason)));
            }
            "length" | "max_tokens" | "max_output_tokens" | "model_length" | "model_context_window_exceeded" => {
                End::Length
            }
            "content_filter" | "content_filtered" | "safety" | "recitation" | "prohibited_content" | "blocklist"
            | "sensitive" => End::Filtered,
            "refusal" => End::Refused,
            "tool_calls" | "tool_call" | "tool_use" | "function_call" => End::ToolCall,
            // "stop", "end_turn", "stop_sequence", "pause_turn", "eos" and names that are added later.
            _ => End::Complete,
        };
        if self.reason.is_none() || end != End::Complete {
            self.reason = Some(end);
        }
        Ok(())
    }

    /// Notes a chunk of output.
    pub fn note_output(&mut self, chunk: &Chunk) {
        self.has_text |= matches!(chunk, Chunk::Text(_));
        self.has_output |= matches!(chunk, Chunk::Text(_) | Chunk::Reasoning(_));
    }

    /// Notes a call of a tool.
    pub fn note_tool_call(&mut self) {
        (self.calls_tool, self.has_output) = (true, true);
    }

    /// Notes that the text is a refusal.
    pub fn note_refusal(&mut self) {
        self.is_refusal = true;
    }

    /// Discards "stop" because output follows it: some servers send it with every event.
    pub fn discard_stop(&mut self) {
        self.reason = self.reason.filter(|reason| *reason != End::Complete);
    }

    /// Whether a reason was read.
    pub fn is_known(&self) -> bool {
        self.reason.is_some()
    }

    /// Returns the end. For servers that send "stop" for every response, it is derived from the content.
    pub fn end(&self) -> End {
        match self.reason.unwrap_or(End::Complete) {
            End::Complete if self.is_refusal => End::Refused,
            End::Complete if self.calls_tool && !self.has_text => End::ToolCall,
            end => end,
        }
    }
}

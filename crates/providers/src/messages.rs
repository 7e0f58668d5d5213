//! Reads streams of Anthropic's Messages format, as Anthropic and compatible servers send them.
//! <https://docs.anthropic.com/en/api/messages-streaming>

use crate::error::Fault;
use crate::reader::{Ending, Reader};
use crate::{Chunk, End, ReportedUsage, content, lenient};
use domain::{Tokens, Usage};
use serde_json::Value;

/// Reads the events of one response.
#[derive(Default)]
pub(crate) struct Messages {
    has_id: bool,
    counts: Counts,
    /// Whether the last event had the final counts.
    usage_is_last: bool,
    ending: Ending,
    /// The block of each tool call.
    calls: Vec<u64>,
}

/// Cumulative counts. A count that is missing from an event, null or zero never replaces one that is known.
#[derive(Default)]
struct Counts {
    input: u64,
    cache_read: u64,
    /// All cache writes, and the parts with each lifetime.
    cache_write: u64,
    short_write: u64,
    long_write: u64,
    output: u64,
    /// Whether output was counted after the head of a stream, whose count is that of the first tokens.
    has_final_output: bool,
}

impl Counts {
    /// Adds the counts of an event. Returns whether there are any above zero.
    fn add(&mut self, usage: &Value) -> bool {
        let mut has_counts = false;
        for (known, pointer) in [
            (&mut self.input, "/input_tokens"),
            (&mut self.cache_read, "/cache_read_input_tokens"),
            (&mut self.cache_write, "/cache_creation_input_tokens"),
            (&mut self.short_write, "/cache_creation/ephemeral_5m_input_tokens"),
            (&mut self.long_write, "/cache_creation/ephemeral_1h_input_tokens"),
            (&mut self.output, "/output_tokens"),
        ] {
            if let Some(count) = lenient::count(usage, &[pointer]).filter(|count| *count > 0) {
                (*known, has_counts) = (count, true);
            }
        }
        has_counts
    }

    fn reported(&self) -> ReportedUsage {
        let parts = self.short_write.saturating_add(self.long_write);
        let cache_write = self.cache_write.max(parts);
        let usage = Usage {
            input: Tokens(self.input),
            cache_read: Tokens(self.cache_read),
            cache_write: Tokens(cache_write),
            cache_write_long: Tokens(self.long_write),
            output: Tokens(self.output),
            // Reasoning isn't reported apart.
            reasoning: Tokens(0),
        };
        // Every prompt has tokens, and the lifetimes are parts of the whole.
        let adds_up = usage.prompt() > Tokens(0) && (parts == 0 || parts == cache_write);
        ReportedUsage { usage, is_consistent: adds_up && self.has_final_output }
    }
}

impl Messages {
    /// Reads a message: the head of a stream, or a whole response.
    fn read_message(&mut self, message: &Value, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        if let Some(id) = lenient::name(message, "/id").filter(|_| !self.has_id) {
            self.has_id = true;
            out.push(Chunk::Id(id));
        }
        match &message["content"] {
            Value::Array(blocks) => {
                blocks.iter().zip(0..).for_each(|(block, index)| self.read_block(index, block, out))
            }
            block => self.read_block(0, block, out),
        }
        let reason = lenient::text(message, "/stop_reason").unwrap_or_default();
        // Only a whole response has its reason here.
        self.read_usage(message, !reason.is_empty(), out);
        self.ending.note_reason(reason)
    }

    /// Reads a block, its beginning, or a delta of it. Text at the beginning of a block is part of it.
    fn read_block(&mut self, index: u64, block: &Value, out: &mut Vec<Chunk>) {
        let before = out.len();
        content::read(block, out);
        out[before..].iter().for_each(|chunk| self.ending.note_output(chunk));
        match lenient::text(block, "/type") {
            Some("tool_use") => self.read_call(index, block, out),
            Some("input_json_delta") => {
                let json = content::plain(&block["partial_json"]);
                if let Some(call) = self.calls.iter().rposition(|known| *known == index).filter(|_| !json.is_empty()) {
                    out.push(Chunk::ToolArguments { index: call as u64, json });
                }
            }
            _ => {}
        }
        self.usage_is_last = false;
    }

    /// Reads the beginning of a tool call, or a whole one. Its arguments are empty at the beginning of a streamed one.
    fn read_call(&mut self, block: u64, call: &Value, out: &mut Vec<Chunk>) {
        self.ending.note_tool_call();
        let index = self.calls.len() as u64;
        self.calls.push(block);
        let text = |pointer| lenient::name(call, pointer).unwrap_or_default();
        out.push(Chunk::ToolCall { index, id: text("/id"), name: text("/name") });
        if call["input"].as_object().is_some_and(|input| !input.is_empty()) {
            out.push(Chunk::ToolArguments { index, json: call["input"].to_string() });
        }
    }

    /// Reads the counts of an event. `is_final` is whether its output is that of the whole response.
    fn read_usage(&mut self, event: &Value, is_final: bool, out: &mut Vec<Chunk>) {
        let usages = [&event["usage"], &event["delta"]["usage"]];
        let counts_output = |usage: &&Value| lenient::count(usage, &["/output_tokens"]).is_some_and(|count| count > 0);
        self.counts.has_final_output |= is_final && usages.iter().any(counts_output);
        let has_counts = usages.into_iter().fold(false, |has_counts, usage| self.counts.add(usage) | has_counts);
        if has_counts {
            out.push(Chunk::Usage(self.counts.reported()));
        }
        self.usage_is_last |= has_counts;
    }
}

/// Returns the position of an event's block.
fn index(event: &Value) -> u64 {
    lenient::count(event, &["/index"]).unwrap_or(0)
}

impl Reader for Messages {
    fn read(&mut self, name: &str, event: &Value, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        match lenient::text(event, "/type").unwrap_or(name) {
            "message_start" => self.read_message(event.get("message").unwrap_or(event), out)?,
            "message" => self.read_message(event, out)?,
            "content_block_start" => self.read_block(index(event), &event["content_block"], out),
            "content_block_delta" => self.read_block(index(event), &event["delta"], out),
            "message_delta" => {
                self.read_usage(event, true, out);
                self.ending.note_reason(lenient::text(event, "/delta/stop_reason").unwrap_or_default())?;
            }
            "message_stop" => {
                self.read_usage(event, true, out);
                if !self.ending.is_known() && !self.ending.has_output {
                    return Err(Fault::Empty);
                }
                out.push(Chunk::End(self.ending.end()));
            }
            // Pings, ends of blocks, and events that are added later.
            _ => {}
        }
        Ok(())
    }

    /// The marker of the other format; some servers send it after `message_stop`, others without it.
    fn done(&mut self, _out: &mut Vec<Chunk>) -> Result<(), Fault> {
        Ok(())
    }

    /// Some servers omit `message_stop`: a reason for the end ends the response as well.
    fn close(&mut self, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        if self.ending.is_known() {
            out.push(Chunk::End(self.ending.end()));
        } else if !self.ending.has_output {
            return Err(Fault::Empty);
        }
        Ok(())
    }

    fn end_if_broken(&self) -> Option<End> {
        (self.ending.is_known() && self.usage_is_last).then(|| self.ending.end())
    }
}

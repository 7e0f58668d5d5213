//! Reads streams of OpenAI chat completions, as OpenAI and compatible servers send them.
//! <https://platform.openai.com/docs/api-reference/chat-streaming>

use crate::error::Fault;
use crate::openai_usage::Counts;
use crate::reader::{Ending, Reader};
use crate::tool_calls::ToolCalls;
use crate::{Chunk, End, content, lenient};
use serde_json::Value;

/// Names of the reasoning text, by server: vLLM and DeepSeek, OpenRouter and Ollama, others. OpenRouter sends the same text in two of them.
const REASONING: [&str; 5] = ["reasoning_content", "reasoning", "reasoning_text", "thinking", "reasoning_details"];

/// Reads the events of one response. The usage follows the reason for the end, so the end is known only at `[DONE]` or at the end of the body.
#[derive(Default)]
pub(crate) struct Completions {
    has_id: bool,
    /// The choice that is read. One is requested, but servers count from zero or from one.
    index: Option<u64>,
    counts: Counts,
    /// Whether the last event with counts had no output, and none came after it: such an event comes at the end.
    usage_is_last: bool,
    ending: Ending,
    calls: ToolCalls,
}

impl Completions {
    /// Reads the output of one choice.
    fn read_choice(&mut self, choice: &Value, out: &mut Vec<Chunk>) {
        // Some servers send the whole message in place of deltas; others add it to the deltas.
        let message = choice.get("message").filter(|_| !self.ending.has_output);
        let Some(delta) = choice.get("delta").filter(|delta| delta.is_object()).or(message) else {
            content::read(&choice["text"], out);
            return;
        };
        let reasoning = REASONING.iter().map(|name| content::plain(&delta[*name])).find(|text| !text.is_empty());
        content::push(Chunk::Reasoning, reasoning.unwrap_or_default(), out);
        content::read(&delta["content"], out);
        let refusal = content::plain(&delta["refusal"]);
        if !refusal.is_empty() || delta["content"][0]["type"] == "refusal" {
            self.ending.note_refusal();
        }
        content::push(Chunk::Text, refusal, out);
        if ["tool_calls", "function_call"].iter().any(|name| lenient::has_content(&delta[*name])) {
            self.ending.note_tool_call();
            self.calls.read(delta, out);
        }
    }

    /// Whether this is the choice that is read: the first one that was sent.
    fn is_read(&mut self, choice: &Value) -> bool {
        let index = lenient::count(choice, &["/index"]);
        self.index = self.index.or(index);
        index.is_none() || index == self.index
    }

    /// Ends the response. `is_end` is whether what was read last is an end, if there was no reason for one.
    fn finish(&mut self, is_end: bool, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        if self.ending.is_known() || (is_end && self.ending.has_output) {
            out.push(Chunk::End(self.ending.end()));
            Ok(())
        } else if self.ending.has_output {
            Ok(())
        } else {
            Err(Fault::Empty)
        }
    }
}

/// Lists an event's choices.
fn choices(event: &Value) -> &[Value] {
    match event.get("choices") {
        Some(Value::Array(choices)) => choices,
        Some(choice @ Value::Object(_)) => std::slice::from_ref(choice),
        _ => &[],
    }
}

impl Reader for Completions {
    fn read(&mut self, _name: &str, event: &Value, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        if let Some(id) = lenient::name(event, "/id").filter(|_| !self.has_id) {
            self.has_id = true;
            out.push(Chunk::Id(id));
        }
        let (before, mut reasons) = (out.len(), Vec::new());
        for choice in choices(event) {
            if self.is_read(choice) {
                self.read_choice(choice, out);
                reasons.extend(lenient::text(choice, "/finish_reason"));
            }
        }
        let has_output = out.len() > before;
        out[before..].iter().for_each(|chunk| self.ending.note_output(chunk));
        if has_output {
            self.ending.discard_stop();
        }
        let has_counts = self.counts.add(event);
        if has_counts {
            out.push(Chunk::Usage(self.counts.reported()));
        }
        self.usage_is_last = !has_output && (has_counts || self.usage_is_last);
        reasons.into_iter().try_for_each(|reason| self.ending.note_reason(reason))
    }

    fn done(&mut self, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        self.finish(true, out)
    }

    /// Some servers omit `[DONE]`: a reason for the end, or the usage that comes after all output, ends the response as well.
    fn close(&mut self, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        self.finish(self.usage_is_last, out)
    }

    fn end_if_broken(&self) -> Option<End> {
        (self.ending.is_known() && self.usage_is_last).then(|| self.ending.end())
    }
}

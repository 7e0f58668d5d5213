//! Writes responses of both wire formats step by step.

use crate::bill::Bill;
use crate::cache::Cache;
use crate::format::Format;
use crate::request::Request;
use crate::script::{Ending, MARKDOWN, SCRIPTS, Script, Shape};
use crate::tools::{example, pieces};
use serde_json::{Value, json};

/// Returns the bill before any output: of a prompt, or as the script sets it.
pub(crate) fn bill_of_prompt(format: Format, request: &Request, script: &Script, cache: &mut Cache) -> Bill {
    if let Some(bill) = script.bill {
        return Bill { output: 0, reasoning: 0, ..bill };
    }
    let (cache_read, cache_write) = match (script.cached, script.cache_write + script.cache_write_long) {
        (0, 0) if format == Format::Messages => cache.serve(&request.model, &request.prompt),
        scripted => scripted,
    };
    // Chat completions don't report lifetimes.
    let cache_write_long = if format == Format::Messages { script.cache_write_long } else { 0 };
    let input = request.tokens.saturating_sub(cache_read + cache_write);
    Bill { input, cache_read, cache_write, cache_write_long, ..Bill::default() }
}

/// One write of a response, or a token that is generated and billed but not sent.
#[derive(Default)]
pub(crate) struct Step {
    /// The bytes to write; none are written if it is empty.
    pub wire: String,
    pub word: String,
    pub output: u64,
    pub reasoning: u64,
    pub pause_ms: u64,
    pub holds: bool,
    pub breaks: bool,
    pub is_silent: bool,
    pub ends: bool,
}

/// What a response is written for.
struct Writer<'a> {
    format: Format,
    request: &'a Request,
    script: &'a Script,
    prompt: Bill,
    /// The tools to call, with their arguments.
    calls: Vec<(String, String)>,
}

/// Returns the steps of the response to a request whose prompt was billed.
pub(crate) fn steps(
    format: Format,
    request: &Request,
    script: &Script,
    prompt: Bill,
    calls: Vec<(String, String)>,
) -> Vec<Step> {
    Writer { format, request, script, prompt, calls }.steps()
}

fn event(name: &str, data: &Value) -> String {
    if name.is_empty() { format!("data: {data}\n\n") } else { format!("event: {name}\ndata: {data}\n\n") }
}

impl Writer<'_> {
    fn steps(&self) -> Vec<Step> {
        let script = self.script;
        let matching = self.request.output_schema.as_ref().map(|schema| pieces(&example(schema).to_string()));
        let all: Vec<String> = match script.words.filter(|_| !script.by_bytes) {
            Some(count) => (1..=count).map(|n| format!("word{n} ")).collect(),
            None if !self.calls.is_empty() => Vec::new(),
            None if script.by_bytes => SCRIPTS.iter().map(|&word| word.to_owned()).collect(),
            None if matching.is_some() => matching.unwrap_or_default(),
            None => MARKDOWN.split_inclusive([' ', '\n']).map(str::to_owned).collect(),
        };
        let limit =
            if script.endless { usize::MAX } else { usize::try_from(self.request.max_output).unwrap_or(usize::MAX) };
        // A scripted word and its number are two tokens, as in the vocabulary used for estimates.
        let each: usize = if script.words.is_some() { 2 } else { 1 };
        let thinks = script.thinks.min(limit);
        let reasoning = script.reasoning.min(limit - thinks);
        let sent = all.len().min((limit - thinks - reasoning) / each);
        let mut is_cut = sent < all.len();
        let mut steps = vec![self.head()];
        if script.head_ms > 0 {
            steps.push(Step { pause_ms: script.head_ms, ..Step::default() });
        }
        steps.extend((0..thinks).map(|_| Step {
            output: 1,
            reasoning: 1,
            pause_ms: script.pace_ms,
            ..Step::default()
        }));
        for n in 0..reasoning {
            let block = json!({"type": "thinking", "thinking": "", "signature": ""});
            steps.push(self.enclosed(self.thought(&format!("thought{n} ")), n, reasoning, 0, &block));
        }
        let text_block = u64::from(reasoning > 0);
        for (n, word) in all.into_iter().take(sent).enumerate() {
            if let Some(fault) = self.fault(n) {
                steps.extend(fault);
                return steps;
            }
            let holds = script.holds == Some(n) || (script.holds == Some(usize::MAX) && n == sent / 2);
            let step = Step { holds, output: each as u64, ..self.word(text_block, word) };
            steps.push(self.enclosed(step, n, sent, text_block, &json!({"type": "text", "text": ""})));
        }
        let mut called = 0;
        if !is_cut {
            let first_block = text_block + u64::from(sent > 0);
            let mut of_calls = self.call_steps(first_block);
            let left = limit - thinks - reasoning - sent * each;
            is_cut = of_calls.len() > left;
            of_calls.truncate(left);
            called = of_calls.len();
            steps.extend(of_calls);
        }
        if let Some(bill) = script.bill {
            steps.iter_mut().for_each(|step| (step.output, step.reasoning) = (0, 0));
            steps.push(Step { output: bill.output, reasoning: bill.reasoning, ..self.tail(bill, false) });
            return steps;
        }
        let output = (sent * each + called + thinks + reasoning) as u64;
        let bill = Bill { output, reasoning: (thinks + reasoning) as u64, ..self.prompt };
        steps.push(self.tail(bill, is_cut));
        steps
    }

    /// Returns what the script does after `n` words instead of continuing.
    fn fault(&self, n: usize) -> Option<Option<Step>> {
        let script = self.script;
        if script.break_after == Some(n) {
            return Some(Some(Step { breaks: true, ..Step::default() }));
        }
        if script.error_after == Some(n) {
            let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
            let wire = event(if self.format == Format::Messages { "error" } else { "" }, &error);
            return Some(Some(Step { wire, ..Step::default() }));
        }
        if script.silent_after == Some(n) {
            return Some(Some(Step { is_silent: true, ..Step::default() }));
        }
        if script.garbage_after == Some(n) {
            return Some(Some(Step { wire: "data: {this is no JSON\n\n".to_owned(), ..Step::default() }));
        }
        (script.cut_after == Some(n)).then_some(None)
    }

    fn head(&self) -> Step {
        let wire = match self.format {
            Format::Messages => {
                let Bill { input, cache_read, cache_write, cache_write_long, .. } = self.prompt;
                let usage = json!({
                    "input_tokens": input, "cache_read_input_tokens": cache_read, "cache_creation_input_tokens": cache_write,
                    "cache_creation": {"ephemeral_5m_input_tokens": cache_write - cache_write_long.min(cache_write), "ephemeral_1h_input_tokens": cache_write_long},
                    "output_tokens": 0,
                });
                event(
                    "message_start",
                    &json!({"type": "message_start", "message": {"id": "msg_fake", "type": "message", "role": "assistant",
                        "model": self.request.model, "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage}}),
                )
            }
            Format::Completions => self.completion(&json!({"role": "assistant", "content": ""}), &Value::Null),
        };
        Step { wire, ..Step::default() }
    }

    fn completion(&self, delta: &Value, finish: &Value) -> String {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        let model = &self.request.model;
        event(
            "",
            &json!({"id": "chatcmpl-fake", "object": "chat.completion.chunk", "model": model, "choices": [choice], "usage": null}),
        )
    }

    /// Adds the beginning of a block before the first of its `count` steps, and its end after the last one. Only messages have blocks.
    fn enclosed(&self, mut step: Step, n: usize, count: usize, index: u64, block: &Value) -> Step {
        if self.format == Format::Completions {
            return step;
        }
        if n == 0 {
            step.wire.insert_str(0, &Self::block_start(index, block));
        }
        if n + 1 == count {
            if block["type"] == "thinking" {
                step.wire.push_str(&Self::delta(index, &json!({"type": "signature_delta", "signature": "c2lnbmVk"})));
            }
            step.wire.push_str(&Self::block_stop(index));
        }
        step
    }

    fn block_start(index: u64, block: &Value) -> String {
        event("content_block_start", &json!({"type": "content_block_start", "index": index, "content_block": block}))
    }

    fn block_stop(index: u64) -> String {
        event("content_block_stop", &json!({"type": "content_block_stop", "index": index}))
    }

    /// Returns the steps of all tool calls: each begins with its name, and its arguments follow in pieces. Each step is one token.
    fn call_steps(&self, first_block: u64) -> Vec<Step> {
        let mut steps = Vec::new();
        for (n, (name, arguments)) in (0_u64..).zip(&self.calls) {
            let index = first_block + n;
            let begin = match self.format {
                Format::Messages => {
                    let block = json!({"type": "tool_use", "id": format!("toolu_fake{n}"), "name": name, "input": {}});
                    Self::block_start(index, &block)
                }
                Format::Completions => {
                    let function = json!({"name": name, "arguments": ""});
                    let call =
                        json!({"index": n, "id": format!("call_fake{n}"), "type": "function", "function": function});
                    self.completion(&json!({"tool_calls": [call]}), &Value::Null)
                }
            };
            let pieces = pieces(arguments).into_iter().map(|piece| match self.format {
                Format::Messages => Self::delta(index, &json!({"type": "input_json_delta", "partial_json": piece})),
                Format::Completions => {
                    let call = json!({"index": n, "function": {"arguments": piece}});
                    self.completion(&json!({"tool_calls": [call]}), &Value::Null)
                }
            });
            let wires = std::iter::once(begin).chain(pieces);
            steps.extend(wires.map(|wire| Step { wire, output: 1, pause_ms: self.script.pace_ms, ..Step::default() }));
            if let (Some(last), Format::Messages) = (steps.last_mut(), self.format) {
                last.wire.push_str(&Self::block_stop(index));
            }
        }
        steps
    }

    fn delta(index: u64, delta: &Value) -> String {
        event("content_block_delta", &json!({"type": "content_block_delta", "index": index, "delta": delta}))
    }

    fn thought(&self, word: &str) -> Step {
        let wire = match self.format {
            Format::Messages => Self::delta(0, &json!({"type": "thinking_delta", "thinking": word})),
            Format::Completions => self.completion(&json!({"reasoning_content": word}), &Value::Null),
        };
        Step { wire, output: 1, reasoning: 1, pause_ms: self.script.pace_ms, ..Step::default() }
    }

    fn word(&self, block: u64, word: String) -> Step {
        let text = if self.script.nul { format!("{word}\0") } else { word.clone() };
        let wire = match self.format {
            Format::Messages => Self::delta(block, &json!({"type": "text_delta", "text": text})),
            Format::Completions => self.completion(&json!({"content": text}), &Value::Null),
        };
        Step { wire, word, pause_ms: self.script.pace_ms, ..Step::default() }
    }

    /// Returns the end of a response: why it ended, and its usage.
    fn tail(&self, bill: Bill, is_cut: bool) -> Step {
        let wire = match self.format {
            Format::Messages => self.message_end(bill, is_cut),
            Format::Completions => self.completion_end(bill, is_cut),
        };
        Step { wire, ends: true, ..Step::default() }
    }

    fn message_end(&self, bill: Bill, is_cut: bool) -> String {
        let reason = match self.script.ending {
            _ if is_cut => Some("max_tokens"),
            Ending::Complete if !self.calls.is_empty() => Some("tool_use"),
            Ending::Complete => Some("end_turn"),
            Ending::Refused | Ending::Filtered => Some("refusal"),
            Ending::ToolCall => Some("tool_use"),
            Ending::None => None,
        };
        let call = if self.script.ending == Ending::ToolCall {
            let block = json!({"type": "tool_use", "id": "toolu_fake", "name": "search", "input": {}});
            event("content_block_start", &json!({"type": "content_block_start", "index": 2, "content_block": block}))
                + &Self::delta(2, &json!({"type": "input_json_delta", "partial_json": "{}"}))
                + &event("content_block_stop", &json!({"type": "content_block_stop", "index": 2}))
        } else {
            String::new()
        };
        let usage = if self.script.no_usage { json!({}) } else { json!({"output_tokens": bill.output}) };
        let end = json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage});
        call + &event("message_delta", &end) + &event("message_stop", &json!({"type": "message_stop"}))
    }

    fn completion_end(&self, bill: Bill, is_cut: bool) -> String {
        let (delta, reason) = match self.script.ending {
            _ if is_cut => (json!({}), Some("length")),
            Ending::Complete if !self.calls.is_empty() => (json!({}), Some("tool_calls")),
            Ending::Complete => (json!({}), Some("stop")),
            Ending::Refused => (json!({"refusal": "I can't help with that."}), Some("stop")),
            Ending::Filtered => (json!({}), Some("content_filter")),
            Ending::ToolCall => {
                let function = json!({"name": "search", "arguments": "{}"});
                let call = json!({"index": 0, "id": "call_fake", "type": "function", "function": function});
                (json!({"tool_calls": [call]}), Some("tool_calls"))
            }
            Ending::None => (json!({}), None),
        };
        let end = reason.map_or_else(String::new, |reason| self.completion(&delta, &json!(reason)));
        let usage = json!({"id": "chatcmpl-fake", "choices": [], "usage": usage(bill, self.script.shape)});
        let usage = if self.script.no_usage { String::new() } else { event("", &usage) };
        format!("{end}{usage}data: [DONE]\n\n")
    }
}

/// Returns a bill as OpenAI-compatible servers report it.
fn usage(bill: Bill, shape: Shape) -> Value {
    let prompt = bill.input + bill.cache_write;
    let mut usage = json!({
        "prompt_tokens": if shape.cached_beside { prompt } else { prompt + bill.cache_read },
        "completion_tokens": if shape.reasoning_beside { bill.output - bill.reasoning } else { bill.output },
        "prompt_tokens_details": {"cached_tokens": bill.cache_read},
        "completion_tokens_details": {"reasoning_tokens": bill.reasoning},
    });
    if bill.cache_write > 0 {
        usage["prompt_tokens_details"]["cache_write_tokens"] = bill.cache_write.into();
    }
    if !shape.no_total {
        usage["total_tokens"] = (prompt + bill.cache_read + bill.output).into();
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request;

    /// Every token of a response is in one of its steps, and the reported usage is their sum.
    #[test]
    fn the_steps_of_a_response_add_up_to_its_bill() {
        let text = "{{words:3}}{{think:5}}{{reasoning:2}}{{beside}}{{cached:1}} please";
        for (max, words, reasoning, reason) in [(99, 3, 7, "stop"), (10, 1, 7, "length"), (4, 0, 4, "length")] {
            let body = json!({"model": "m", "max_tokens": max, "messages": [{"role": "user", "content": text}]});
            let (request, script) = (request::read(Format::Completions, &body), Script::read(text, 0));
            let prompt = bill_of_prompt(Format::Completions, &request, &script, &mut Cache::default());
            let steps = steps(Format::Completions, &request, &script, prompt, Vec::new());
            let output: u64 = steps.iter().map(|step| step.output).sum();
            let billed: u64 = steps.iter().map(|step| step.reasoning).sum();
            assert_eq!((output, billed), (reasoning + 2 * words, reasoning), "{max}");
            let end = &steps.last().unwrap().wire;
            let total = prompt.input + prompt.cache_read + output;
            assert_eq!((prompt.input, prompt.cache_read), (request.tokens - 1, 1));
            for part in [
                format!("\"total_tokens\":{total}"),
                format!("\"completion_tokens\":{}", output - billed),
                format!("\"{reason}\""),
            ] {
                assert!(end.contains(&part), "{part} in {end}");
            }
        }
    }
}

//! Both wire formats: parses requests and writes responses step by step.

use crate::script::{MARKDOWN, SCRIPTS, Script};
use serde_json::{Value, json};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Messages,
    Completions,
}

/// The parts of a request that the fake uses.
pub(crate) struct Request {
    pub model: String,
    pub last_message: String,
    /// Number of words in the whole prompt, which the fake counts as tokens.
    pub words: u64,
    pub messages: usize,
    pub has_system: bool,
    pub max_output: u64,
}

/// One write of a response.
#[derive(Default)]
pub(crate) struct Step {
    pub wire: String,
    pub word: String,
    pub output: u64,
    pub reasoning: u64,
    pub pause_ms: u64,
    pub holds: bool,
    pub breaks: bool,
    pub is_silent: bool,
    pub ends: bool,
    pub is_over: bool,
}

impl Step {
    pub fn over() -> Self {
        Self { is_over: true, ..Self::default() }
    }
}

fn words(value: &Value) -> u64 {
    value.as_str().map_or(0, |text| text.split_whitespace().count() as u64)
}

pub(crate) fn read(format: Format, body: &Value) -> Request {
    let empty = Vec::new();
    let messages = body["messages"].as_array().unwrap_or(&empty);
    let system = if format == Format::Messages { words(&body["system"]) } else { 0 };
    Request {
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        last_message: messages.last().and_then(|message| message["content"].as_str()).unwrap_or_default().to_owned(),
        words: system + messages.iter().map(|message| words(&message["content"])).sum::<u64>(),
        messages: messages.len(),
        has_system: body["system"].is_string() || messages.iter().any(|message| message["role"] == "system"),
        max_output: body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64()).unwrap_or(u64::MAX),
    }
}

fn event(name: &str, data: &Value) -> String {
    if name.is_empty() { format!("data: {data}\n\n") } else { format!("event: {name}\ndata: {data}\n\n") }
}

pub(crate) fn steps(format: Format, request: &Request, script: &Script) -> Vec<Step> {
    let input = request.words.saturating_sub(script.cached);
    let cached = script.cached.min(request.words);
    let all: Vec<String> = match script.words.filter(|_| !script.by_bytes) {
        Some(count) => (1..=count).map(|n| format!("word{n} ")).collect(),
        None if script.by_bytes => SCRIPTS.iter().map(|&word| word.to_owned()).collect(),
        None => MARKDOWN.split_inclusive([' ', '\n']).map(str::to_owned).collect(),
    };
    let limit = if script.endless { usize::MAX } else { usize::try_from(request.max_output).unwrap_or(usize::MAX) };
    // A scripted word and its number are two tokens, as in the vocabulary used for estimates.
    let each: usize = if script.words.is_some() { 2 } else { 1 };
    let sent = all.len().min(limit.saturating_sub(script.reasoning) / each);
    let is_cut = sent < all.len();
    let mut steps = vec![head(format, request, input, cached)];
    for n in 0..script.reasoning {
        let word = format!("thought{n} ");
        let wire = match format {
            Format::Messages => event(
                "content_block_delta",
                &json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": word}}),
            ),
            Format::Completions => completion(request, &json!({"reasoning_content": word}), Value::Null),
        };
        steps.push(Step { wire, output: 1, reasoning: 1, pause_ms: script.pace_ms, ..Step::default() });
    }
    for (n, word) in all.into_iter().take(sent).enumerate() {
        if script.break_after == Some(n) {
            steps.push(Step { breaks: true, ..Step::default() });
            return steps;
        }
        if script.error_after == Some(n) {
            let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
            steps.push(Step {
                wire: event(if format == Format::Messages { "error" } else { "" }, &error),
                ..Step::default()
            });
            return steps;
        }
        if script.silent_after == Some(n) {
            steps.push(Step { is_silent: true, ..Step::default() });
            return steps;
        }
        if script.cut_after == Some(n) {
            return steps;
        }
        if script.garbage_after == Some(n) {
            steps.push(Step { wire: "data: {this is no JSON\n\n".to_owned(), ..Step::default() });
            return steps;
        }
        let text = if script.nul { format!("{word}\0") } else { word.clone() };
        let wire = match format {
            Format::Messages => event(
                "content_block_delta",
                &json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": text}}),
            ),
            Format::Completions => completion(request, &json!({"content": text}), Value::Null),
        };
        steps.push(Step {
            wire,
            word,
            output: each as u64,
            pause_ms: script.pace_ms,
            holds: script.holds == Some(n) || (script.holds == Some(usize::MAX) && n == sent / 2),
            ..Step::default()
        });
    }
    steps.push(tail(format, request, script, input, cached, (sent * each + script.reasoning) as u64, is_cut));
    steps
}

fn head(format: Format, request: &Request, input: u64, cached: u64) -> Step {
    let wire = match format {
        Format::Messages => event(
            "message_start",
            &json!({"type": "message_start", "message": {"id": "msg_fake", "type": "message", "role": "assistant", "model": request.model, "content": [],
                "usage": {"input_tokens": input, "cache_read_input_tokens": cached, "cache_creation_input_tokens": 0, "output_tokens": 0}}}),
        ),
        Format::Completions => completion(request, &json!({"role": "assistant", "content": ""}), Value::Null),
    };
    Step { wire, ..Step::default() }
}

fn completion(request: &Request, delta: &Value, finish: Value) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
    event(
        "",
        &json!({"id": "chatcmpl-fake", "object": "chat.completion.chunk", "model": request.model, "choices": [choice], "usage": null}),
    )
}

fn tail(
    format: Format,
    request: &Request,
    script: &Script,
    input: u64,
    cached: u64,
    output: u64,
    is_cut: bool,
) -> Step {
    let wire = match format {
        Format::Messages => {
            let usage = if script.no_usage { json!({}) } else { json!({"output_tokens": output}) };
            let reason = if is_cut { "max_tokens" } else { "end_turn" };
            event("message_delta", &json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}))
                + &event("message_stop", &json!({"type": "message_stop"}))
        }
        Format::Completions => {
            let end = completion(request, &json!({}), json!(if is_cut { "length" } else { "stop" }));
            let usage = json!({"id": "chatcmpl-fake", "choices": [], "usage": {"prompt_tokens": input + cached, "completion_tokens": output,
                "prompt_tokens_details": {"cached_tokens": cached}, "completion_tokens_details": {"reasoning_tokens": script.reasoning}}});
            let usage = if script.no_usage { String::new() } else { event("", &usage) };
            format!("{end}{usage}data: [DONE]\n\n")
        }
    };
    Step { wire, ends: true, ..Step::default() }
}

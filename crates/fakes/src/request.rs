//! Reads and checks requests of both wire formats.

use crate::format::{Format, count_words};
use crate::picture::Picture;
use crate::tools::{self, Tool};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A message of a request, without its system prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The author, as the wire format names it.
    pub role: String,
    /// The text of all its parts.
    pub text: String,
    /// The media types of its images.
    pub images: Vec<String>,
}

/// A part of a prompt: the system prompt or a message.
pub(crate) struct Part {
    pub role: String,
    pub text: String,
    /// Its images.
    pub images: Vec<Picture>,
    /// What is wrong with one of its images.
    pub bad_image: Option<String>,
    /// Whether it ends with a mark up to which the prompt is cached.
    pub is_marked: bool,
}

impl Part {
    /// Returns the number of tokens that the fake bills: its words, and its images by the providers' formulas.
    pub fn tokens(&self, format: Format, model: &str) -> u64 {
        let image = |image: &Picture| match format {
            Format::Messages => image.anthropic_tokens(model),
            Format::Completions => image.openai_tokens(model),
        };
        count_words(&self.text) + self.images.iter().map(image).sum::<u64>()
    }
}

/// The parts of a request that the fake uses.
pub(crate) struct Request {
    pub model: String,
    pub last_message: String,
    /// Tokens of the whole prompt: words, and images.
    pub tokens: u64,
    /// The whole prompt in the order in which it is cached.
    pub prompt: Vec<Part>,
    /// Number of elements of `messages`.
    pub messages: usize,
    pub has_system: bool,
    pub max_output: u64,
    /// The field that limits the output.
    pub limit_name: String,
    /// The requested reasoning effort.
    pub effort: Option<String>,
    /// The tools that may be called.
    pub tools: Vec<Tool>,
    /// The schema that the output must match.
    pub output_schema: Option<Value>,
    /// What real providers would reject; `None` if the request is valid.
    pub violation: Option<String>,
}

impl Request {
    /// Returns the messages without the system prompt.
    pub fn sent(&self) -> Vec<Sent> {
        let messages = self.prompt.iter().filter(|part| part.role != "system");
        messages
            .map(|part| Sent {
                role: part.role.clone(),
                text: part.text.clone(),
                images: part.images.iter().map(|image| image.media_type.clone()).collect(),
            })
            .collect()
    }
}

/// The names that limit a response's length.
const LIMITS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

/// Returns the text of a message's content: a string, or an array of parts. Results of tools have a content of their own.
fn text_of(content: &Value) -> String {
    match content {
        Value::Array(parts) => parts
            .iter()
            .map(|part| match part["type"].as_str() {
                Some("tool_result") => text_of(&part["content"]) + "\n",
                _ => part["text"].as_str().or(part["thinking"].as_str()).unwrap_or_default().to_owned(),
            })
            .collect(),
        content => content.as_str().unwrap_or_default().to_owned(),
    }
}

fn message(message: &Value) -> Part {
    let mut part = part(message["role"].as_str().unwrap_or_default(), &message["content"]);
    part.text.push_str(&tools::text_of_calls(message));
    part
}

fn part(role: &str, content: &Value) -> Part {
    let last = content.as_array().and_then(|parts| parts.last());
    let is_marked = last.is_some_and(|part| part["cache_control"].is_object());
    let blocks = content.as_array().map(Vec::as_slice).unwrap_or_default();
    let nested = blocks.iter().filter_map(|block| block["content"].as_array()).flatten();
    let (images, bad): (Vec<_>, Vec<_>) =
        blocks.iter().chain(nested).filter_map(Picture::read).partition(Result::is_ok);
    Part {
        role: role.to_owned(),
        text: text_of(content),
        images: images.into_iter().filter_map(Result::ok).collect(),
        bad_image: bad.into_iter().find_map(Result::err),
        is_marked,
    }
}

pub(crate) fn read(format: Format, body: &Value) -> Request {
    let empty = Vec::new();
    let messages = body["messages"].as_array().unwrap_or(&empty);
    let mut prompt = Vec::new();
    if format == Format::Messages && !body["system"].is_null() {
        prompt.push(part("system", &body["system"]));
    }
    prompt.extend(messages.iter().map(message));
    let limits: Vec<&str> = LIMITS.into_iter().filter(|name| !body[*name].is_null()).collect();
    Request {
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        last_message: prompt.last().map(|part| part.text.clone()).unwrap_or_default(),
        tokens: prompt.iter().map(|part| part.tokens(format, body["model"].as_str().unwrap_or_default())).sum::<u64>()
            + tools::count(&body["tools"]),
        messages: messages.len(),
        has_system: prompt.iter().any(|part| part.role == "system"),
        max_output: limits.first().and_then(|name| body[*name].as_u64()).unwrap_or(u64::MAX),
        limit_name: limits.join(" and "),
        effort: body["reasoning_effort"].as_str().or(body["output_config"]["effort"].as_str()).map(str::to_owned),
        tools: tools::read(body),
        output_schema: tools::output_schema(body),
        violation: violation(format, body, &limits, &prompt).or_else(|| tools::violation(format, body)),
        prompt,
    }
}

/// Returns the first rule that a request violates: one name for the output limit, no sampling parameters, no blank message, authors that
/// alternate, and the user's message last.
fn violation(format: Format, body: &Value, limits: &[&str], prompt: &[Part]) -> Option<String> {
    if let [_, _, ..] = limits {
        return Some("max_tokens and max_completion_tokens can't be set at the same time".to_owned());
    }
    if limits.is_empty() || format == Format::Messages && limits != ["max_tokens"] {
        return Some("max_tokens: field required".to_owned());
    }
    if let Some(name) = ["temperature", "top_p", "top_k"].into_iter().find(|name| !body[*name].is_null()) {
        return Some(format!("{name} isn't supported by this model"));
    }
    let mut messages: Vec<&Part> = prompt.iter().filter(|part| part.role != "system").collect();
    // Results of tools are one message of the user, with what follows them.
    messages.dedup_by(|next, previous| previous.role == "tool" && ["tool", "user"].contains(&next.role.as_str()));
    for (n, message) in messages.iter().enumerate() {
        if let Some(bad) = &message.bad_image {
            return Some(format!("messages.{n}: {bad}"));
        }
        if message.text.trim().is_empty() && message.images.is_empty() && message.role != "tool" {
            return Some(format!("messages.{n}: text content blocks must be non-empty"));
        }
        let expected = if n % 2 == 0 { "user" } else { "assistant" };
        if message.role != expected && (message.role != "tool" || expected != "user") {
            return Some(format!("messages.{n}: roles must alternate between user and assistant"));
        }
    }
    if messages.len().is_multiple_of(2) {
        return Some("the last message must be the user's".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_that_providers_reject_are_violations() {
        let user = json!({"role": "user", "content": "hi"});
        let valid = json!({"model": "m", "max_tokens": 9, "messages": [user]});
        assert_eq!(read(Format::Messages, &valid).violation, None);
        let with = |name: &str, value: Value| {
            let mut body = valid.clone();
            body[name] = value;
            read(Format::Completions, &body).violation
        };
        let assistant = json!({"role": "assistant", "content": "hello"});
        let blank = json!({"role": "assistant", "content": [{"type": "text", "text": "\n\n"}]});
        for (name, value) in [
            ("max_completion_tokens", json!(9)),
            ("max_tokens", Value::Null),
            ("temperature", json!(0.5)),
            ("top_p", json!(1)),
            ("messages", json!([user, user])),
            ("messages", json!([user, assistant])),
            ("messages", json!([assistant, user])),
            ("messages", json!([user, blank, user])),
            ("messages", json!([])),
        ] {
            assert!(with(name, value.clone()).is_some(), "{name} {value}");
        }
        assert_eq!(with("messages", json!([{"role": "system", "content": "s"}, user, assistant, user])), None);
    }
}

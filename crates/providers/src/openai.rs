//! Client for OpenAI chat completions, streaming, and for compatible servers by base URL: Ollama, vLLM, OpenRouter and others.
//! <https://platform.openai.com/docs/api-reference/chat-streaming>

use crate::http::{self, Reader, Timeouts};
use crate::{Chunk, Chunks, End, ModelRequest, Provider, ProviderError};
use domain::{Tokens, Usage, sse::SseEvent};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// Default base URL.
pub const BASE_URL: &str = "https://api.openai.com/v1";

/// Client for one server with the chat completions API.
pub struct OpenAi {
    client: reqwest::Client,
    timeouts: Timeouts,
    url: String,
    key: Option<SecretString>,
    is_openai: bool,
}

impl OpenAi {
    /// Creates a client; `None` as `base_url` uses OpenAI's own URL, and `None` as `key` sends no authorization.
    ///
    /// # Errors
    /// Returns an error if TLS can't be set up.
    pub fn new(base_url: Option<&str>, key: Option<SecretString>, timeouts: Timeouts) -> Result<Self, ProviderError> {
        let base = base_url.unwrap_or(BASE_URL).trim_end_matches('/');
        Ok(Self {
            client: http::client(timeouts)?,
            timeouts,
            url: format!("{base}/chat/completions"),
            key,
            is_openai: base == BASE_URL,
        })
    }
}

#[async_trait::async_trait]
impl Provider for OpenAi {
    async fn open(&self, request: &ModelRequest<'_>) -> Result<Chunks, ProviderError> {
        let system = serde_json::json!({"role": "system", "content": request.system});
        let words = request.messages.iter().map(|m| serde_json::json!({"role": m.role.as_str(), "content": m.text}));
        let mut body = serde_json::json!({
            "model": request.model, "messages": std::iter::once(system).chain(words).collect::<Vec<_>>(), "stream": true,
            "stream_options": {"include_usage": true}, "max_completion_tokens": request.max_output,
        });
        if !self.is_openai {
            // OpenAI rejects requests with both names; some compatible servers know only the older one.
            body["max_tokens"] = request.max_output.0.into();
        }
        let mut http_request = self.client.post(&self.url).json(&body);
        if let Some(key) = &self.key {
            http_request = http_request.bearer_auth(key.expose_secret());
        }
        Ok(http::chunks(http::send(http_request, self.timeouts).await?, Completions::default(), self.timeouts))
    }
}

#[derive(Default)]
struct Completions {
    named: bool,
    end: Option<End>,
    over: bool,
}

#[derive(Deserialize)]
struct Event {
    id: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Counted>,
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    content: Option<String>,
    /// Reasoning text as vLLM and DeepSeek name it.
    reasoning_content: Option<String>,
    /// Reasoning text as OpenRouter names it.
    reasoning: Option<String>,
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

impl From<Counted> for Usage {
    /// Converts the counts: `prompt_tokens` includes cached tokens, and `completion_tokens` includes reasoning tokens.
    fn from(counted: Counted) -> Self {
        let cached =
            counted.prompt_tokens_details.and_then(|d| d.cached_tokens).unwrap_or(0).min(counted.prompt_tokens);
        let reasoning = counted.completion_tokens_details.and_then(|d| d.reasoning_tokens).unwrap_or(0);
        Self {
            input: Tokens(counted.prompt_tokens - cached),
            cache_read: Tokens(cached),
            cache_write: Tokens(0),
            output: Tokens(counted.completion_tokens),
            reasoning: Tokens(reasoning.min(counted.completion_tokens)),
        }
    }
}

impl Reader for Completions {
    fn read(&mut self, event: &SseEvent) -> Result<Vec<Chunk>, ProviderError> {
        if event.data.trim() == "[DONE]" {
            self.over = true;
            return Ok(self.end.map(Chunk::End).into_iter().collect());
        }
        let event: Event = http::json(&event.data)?;
        if event.error.is_some() {
            return Err(ProviderError::StreamFailed("error event".into()));
        }
        let mut out = Vec::new();
        if let Some(id) = event.id.filter(|id| !id.is_empty() && !std::mem::replace(&mut self.named, true)) {
            out.push(Chunk::Id(id));
        }
        for choice in event.choices {
            let thought = choice.delta.reasoning_content.or(choice.delta.reasoning);
            out.extend(thought.filter(|text| !text.is_empty()).map(Chunk::Reasoning));
            out.extend(choice.delta.content.filter(|text| !text.is_empty()).map(Chunk::Text));
            if let Some(reason) = choice.finish_reason {
                self.end = Some(if reason == "length" { End::Length } else { End::Complete });
            }
        }
        out.extend(event.usage.map(|counted| Chunk::Usage(counted.into())));
        Ok(out)
    }

    /// Some servers omit `[DONE]`: a finish reason followed by a clean end of the body also ends the response.
    fn close(&mut self) -> Vec<Chunk> {
        self.end.filter(|_| !self.over).map(Chunk::End).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::sse::SseParser;

    fn read(stream: &str, size: usize) -> Vec<Chunk> {
        let (mut parser, mut reader, mut out) = (SseParser::new(), Completions::default(), Vec::new());
        for piece in stream.as_bytes().chunks(size) {
            for event in parser.feed(piece) {
                out.extend(reader.read(&event).unwrap());
            }
        }
        out.extend(reader.close());
        out
    }

    #[test]
    fn recorded_stream_parses_the_same_in_any_chunking() {
        let stream = include_str!("../fixtures/openai.sse");
        let whole = read(stream, stream.len());
        let usage = Usage {
            input: Tokens(12),
            cache_read: Tokens(1024),
            cache_write: Tokens(0),
            output: Tokens(40),
            reasoning: Tokens(25),
        };
        assert_eq!(
            whole,
            [
                Chunk::Id("chatcmpl-fixture".into()),
                Chunk::Reasoning("Kurz.".into()),
                Chunk::Text("Grüße, ".into()),
                Chunk::Text("世界 🦀!".into()),
                Chunk::Usage(usage),
                Chunk::End(End::Complete),
            ]
        );
        for size in 1..64 {
            assert_eq!(read(stream, size), whole, "chunk size {size}");
        }
    }

    #[test]
    fn done_marker_is_optional_but_finish_reason_is_required() {
        let finished = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"length\"}]}\n\n";
        assert_eq!(read(finished, 9), [Chunk::Text("a".into()), Chunk::End(End::Length)]);
        let cut = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        assert_eq!(read(cut, 9), [Chunk::Text("a".into())]);
    }
}

//! OpenAI chat completions, streaming, and everything that speaks them: Ollama, vLLM, OpenRouter and others by base URL.
//! <https://platform.openai.com/docs/api-reference/chat-streaming>

use crate::http::{self, Patience, Reader};
use crate::{Ask, Chunk, Chunks, End, Provider, ProviderError};
use domain::{Tokens, Usage, sse::SseEvent};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// The provider's usual address.
pub const BASE_URL: &str = "https://api.openai.com/v1";

/// One server that speaks chat completions.
pub struct OpenAi {
    client: reqwest::Client,
    patience: Patience,
    url: String,
    key: Option<SecretString>,
    is_openai: bool,
}

impl OpenAi {
    /// A server at `base_url`, with its key where it wants one.
    ///
    /// # Errors
    /// Returns an error if TLS can't be set up.
    pub fn new(base_url: Option<&str>, key: Option<SecretString>, patience: Patience) -> Result<Self, ProviderError> {
        let base = base_url.unwrap_or(BASE_URL).trim_end_matches('/');
        Ok(Self {
            client: http::client(patience)?,
            patience,
            url: format!("{base}/chat/completions"),
            key,
            is_openai: base == BASE_URL,
        })
    }
}

#[async_trait::async_trait]
impl Provider for OpenAi {
    async fn open(&self, ask: &Ask<'_>) -> Result<Chunks, ProviderError> {
        let system = serde_json::json!({"role": "system", "content": ask.system});
        let words = ask.messages.iter().map(|m| serde_json::json!({"role": m.role.as_str(), "content": m.text}));
        let mut body = serde_json::json!({
            "model": ask.model, "messages": std::iter::once(system).chain(words).collect::<Vec<_>>(), "stream": true,
            "stream_options": {"include_usage": true}, "max_completion_tokens": ask.max_output,
        });
        if !self.is_openai {
            // OpenAI refuses the older name beside the newer one; of the others some know only the older.
            body["max_tokens"] = ask.max_output.0.into();
        }
        let mut request = self.client.post(&self.url).json(&body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose_secret());
        }
        Ok(http::chunks(http::send(request, self.patience).await?, Completions::default(), self.patience))
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
    /// vLLM and DeepSeek's name for it.
    reasoning_content: Option<String>,
    /// OpenRouter's.
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
    /// `prompt_tokens` holds the cached ones, `completion_tokens` the reasoning ones.
    fn from(told: Counted) -> Self {
        let cached = told.prompt_tokens_details.and_then(|d| d.cached_tokens).unwrap_or(0).min(told.prompt_tokens);
        let reasoning = told.completion_tokens_details.and_then(|d| d.reasoning_tokens).unwrap_or(0);
        Self {
            input: Tokens(told.prompt_tokens - cached),
            cache_read: Tokens(cached),
            cache_write: Tokens(0),
            output: Tokens(told.completion_tokens),
            reasoning: Tokens(reasoning.min(told.completion_tokens)),
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
            return Err(ProviderError::Broke("error event".into()));
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
                self.end = Some(if reason == "length" { End::Length } else { End::Done });
            }
        }
        out.extend(event.usage.map(|told| Chunk::Usage(told.into())));
        Ok(out)
    }

    /// Some servers leave `[DONE]` out: a finish reason and then a clean end of the bytes is an end too.
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
    fn a_recorded_answer_reads_the_same_in_any_split() {
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
                Chunk::End(End::Done),
            ]
        );
        for size in 1..64 {
            assert_eq!(read(stream, size), whole, "pieces of {size}");
        }
    }

    #[test]
    fn a_missing_done_is_no_missing_end_but_a_missing_reason_is() {
        let said = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"length\"}]}\n\n";
        assert_eq!(read(said, 9), [Chunk::Text("a".into()), Chunk::End(End::Length)]);
        let cut = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        assert_eq!(read(cut, 9), [Chunk::Text("a".into())]);
    }
}

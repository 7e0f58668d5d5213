//! Client for the Anthropic Messages API, streaming: <https://docs.anthropic.com/en/api/messages-streaming>

use crate::http::{self, Reader, Timeouts};
use crate::{Chunk, Chunks, End, ModelRequest, Provider, ProviderError};
use domain::{Tokens, Usage, sse::SseEvent};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// Default base URL.
pub const BASE_URL: &str = "https://api.anthropic.com";

/// Client for one Anthropic API key.
pub struct Anthropic {
    client: reqwest::Client,
    timeouts: Timeouts,
    url: String,
    key: SecretString,
}

impl Anthropic {
    /// Creates a client; `None` uses Anthropic's own URL.
    ///
    /// # Errors
    /// Returns an error if TLS can't be set up.
    pub fn new(base_url: Option<&str>, key: SecretString, timeouts: Timeouts) -> Result<Self, ProviderError> {
        let url = format!("{}/v1/messages", base_url.unwrap_or(BASE_URL).trim_end_matches('/'));
        Ok(Self { client: http::client(timeouts)?, timeouts, url, key })
    }
}

#[async_trait::async_trait]
impl Provider for Anthropic {
    async fn open(&self, request: &ModelRequest<'_>) -> Result<Chunks, ProviderError> {
        let messages: Vec<_> = request
            .messages
            .iter()
            .map(|message| serde_json::json!({"role": message.role.as_str(), "content": message.text}))
            .collect();
        let body = serde_json::json!({
            "model": request.model, "max_tokens": request.max_output, "system": request.system, "messages": messages, "stream": true,
        });
        let http_request = self
            .client
            .post(&self.url)
            .header("x-api-key", self.key.expose_secret())
            .header("anthropic-version", "2023-06-01")
            .json(&body);
        Ok(http::chunks(http::send(http_request, self.timeouts).await?, Messages::default(), self.timeouts))
    }
}

/// Reads the event stream, keeping the cumulative usage and the stop reason.
#[derive(Default)]
struct Messages {
    usage: Usage,
    end: Option<End>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Started,
    },
    ContentBlockDelta {
        delta: Delta,
    },
    MessageDelta {
        delta: Stop,
        #[serde(default)]
        usage: Counted,
    },
    MessageStop,
    Error {
        error: Failure,
    },
    /// Pings, block starts and stops, and event types added later.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Started {
    id: Option<String>,
    #[serde(default)]
    usage: Counted,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Stop {
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    r#type: String,
}

/// Cumulative token counts; a count that is missing from an event is unchanged.
#[derive(Default, Deserialize)]
struct Counted {
    input_tokens: Option<Tokens>,
    cache_read_input_tokens: Option<Tokens>,
    cache_creation_input_tokens: Option<Tokens>,
    output_tokens: Option<Tokens>,
}

impl Messages {
    fn count(&mut self, counted: &Counted) -> Chunk {
        let usage = &mut self.usage;
        for (current, reported) in [
            (&mut usage.input, counted.input_tokens),
            (&mut usage.cache_read, counted.cache_read_input_tokens),
            (&mut usage.cache_write, counted.cache_creation_input_tokens),
            (&mut usage.output, counted.output_tokens),
        ] {
            *current = reported.unwrap_or(*current);
        }
        Chunk::Usage(self.usage)
    }
}

impl Reader for Messages {
    fn read(&mut self, event: &SseEvent) -> Result<Vec<Chunk>, ProviderError> {
        Ok(match http::json(&event.data)? {
            Event::MessageStart { message } => {
                let id = message.id.map(Chunk::Id);
                id.into_iter().chain([self.count(&message.usage)]).collect()
            }
            Event::ContentBlockDelta { delta: Delta::Text { text } } => vec![Chunk::Text(text)],
            Event::ContentBlockDelta { delta: Delta::Thinking { thinking } } => vec![Chunk::Reasoning(thinking)],
            Event::MessageDelta { delta, usage } => {
                self.end = delta.stop_reason.map(|reason| match reason.as_str() {
                    "max_tokens" | "model_context_window_exceeded" => End::Length,
                    _ => End::Complete,
                });
                vec![self.count(&usage)]
            }
            Event::MessageStop => vec![Chunk::End(self.end.unwrap_or(End::Complete))],
            Event::Error { error } => return Err(ProviderError::StreamFailed(error.r#type)),
            Event::ContentBlockDelta { delta: Delta::Other } | Event::Other => Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Reader;
    use domain::sse::SseParser;

    /// Reads a recorded stream split into pieces of `size` bytes.
    fn read(stream: &str, size: usize) -> (Vec<Chunk>, Option<String>) {
        let (mut parser, mut reader, mut out) = (SseParser::new(), Messages::default(), Vec::new());
        for piece in stream.as_bytes().chunks(size) {
            for event in parser.feed(piece) {
                match reader.read(&event) {
                    Ok(chunks) => out.extend(chunks),
                    Err(error) => return (out, Some(error.to_string())),
                }
            }
        }
        (out, None)
    }

    #[test]
    fn recorded_stream_parses_the_same_in_any_chunking() {
        let stream = include_str!("../fixtures/anthropic.sse");
        let (whole, _) = read(stream, stream.len());
        let text: String = whole
            .iter()
            .filter_map(|chunk| match chunk {
                Chunk::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(text, "Grüße, 世界 🦀!");
        assert_eq!(whole.first(), Some(&Chunk::Id("msg_01Fixture".into())));
        assert!(whole.contains(&Chunk::Reasoning("Short and kind.".into())));
        // Field notes 26 and 27: the kinds of input are counted separately, and the last usage is final.
        let usage = Usage {
            input: Tokens(21),
            cache_read: Tokens(1000),
            cache_write: Tokens(300),
            output: Tokens(15),
            reasoning: Tokens(0),
        };
        assert_eq!(whole[whole.len() - 2..], [Chunk::Usage(usage), Chunk::End(End::Complete)]);
        for size in 1..64 {
            assert_eq!(read(stream, size), (whole.clone(), None), "chunk size {size}");
        }
    }

    /// Field note 25: an error event within a stream fails the call, and so does invalid JSON.
    #[test]
    fn error_event_fails_the_stream() {
        let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"secret words\"}}\n\n";
        assert_eq!(read(error, 7).1.as_deref(), Some("stream failed: overloaded_error"));
        let garbage = read("data: {nonsense\n\n", 3).1.unwrap_or_default();
        assert!(garbage.starts_with("stream failed: unexpected JSON"), "{garbage}");
    }
}

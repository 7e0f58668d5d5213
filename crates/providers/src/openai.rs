//! Client for OpenAI chat completions and for compatible servers by base URL: Ollama, vLLM, OpenRouter and others.
//! <https://platform.openai.com/docs/api-reference/chat/create>

use crate::completions::Completions;
use crate::error::Failure;
use crate::http::{self, Rejection};
use crate::{ModelRequest, Opened, Provider, ProviderError};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use domain::{OutputLimit, PromptImage, PromptMessage};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::time::Duration;

/// Default base URL.
pub const BASE_URL: &str = "https://api.openai.com/v1";

/// Client for one server with the chat completions API.
pub struct OpenAi {
    client: reqwest::Client,
    url: String,
    key: Option<SecretString>,
    /// The name of the output limit for models of which none is known.
    output_limit: OutputLimit,
}

impl OpenAi {
    /// Creates a client; `None` as `base_url` uses OpenAI's own URL, and `None` as `key` sends no authorization.
    ///
    /// # Errors
    /// Returns an error if TLS can't be set up.
    pub fn new(
        base_url: Option<&str>,
        key: Option<SecretString>,
        connect_timeout: Duration,
    ) -> Result<Self, ProviderError> {
        let base = base_url.unwrap_or(BASE_URL).trim_end_matches('/');
        let is_openai = base.starts_with("https://api.openai.com");
        Ok(Self {
            client: http::client(connect_timeout)?,
            url: format!("{}/chat/completions", base.trim_end_matches("/chat/completions")),
            key,
            // OpenAI's newer models reject the older name, which is the only one that many compatible servers accept.
            output_limit: if is_openai { OutputLimit::MaxCompletionTokens } else { OutputLimit::MaxTokens },
        })
    }
}

#[async_trait::async_trait]
impl Provider for OpenAi {
    async fn open(&self, request: &ModelRequest<'_>) -> Result<Opened, ProviderError> {
        let mut fields = Fields {
            output_limit: request.output_limit.unwrap_or(self.output_limit),
            learned: None,
            reports_usage: true,
            effort: request.raw.map_or(request.effort, |raw| raw["reasoning_effort"].as_str()),
        };
        loop {
            let mut http_request = self.client.post(&self.url).json(&body(request, &fields));
            if let Some(key) = &self.key {
                http_request = http_request.bearer_auth(key.expose_secret());
            }
            let opened =
                http::open(http_request, Box::new(Completions::default()), request.timeouts, request.raw.is_some())
                    .await;
            match opened {
                // The server may have rejected the field because of what an API caller sent, so the model's setting isn't changed for other
                // calls.
                Ok(chunks) => {
                    return Ok(Opened { chunks, learned: fields.learned.filter(|_| request.raw.is_none()) });
                }
                Err(Rejection::Status(failure)) if fields.adapt(&failure) => {}
                Err(rejection) => return Err(rejection.into()),
            }
        }
    }
}

/// The fields of a request that some servers reject. The rest is the same for every server: no sampling parameters, which newer models reject.
struct Fields<'a> {
    output_limit: OutputLimit,
    /// The output limit's other name, after the server rejected the first one.
    learned: Option<OutputLimit>,
    reports_usage: bool,
    effort: Option<&'a str>,
}

impl Fields<'_> {
    /// Adapts the fields to what the server rejected, each at most once. Returns whether the request is worth sending again: a rejected
    /// request costs nothing.
    fn adapt(&mut self, failure: &Failure) -> bool {
        let rejects_limit = || ["max_tokens", "max_completion_tokens"].iter().any(|name| failure.rejects(name));
        if self.reports_usage && failure.rejects("stream_options") {
            self.reports_usage = false;
        } else if self.effort.is_some() && failure.rejects("reasoning_effort") {
            self.effort = None;
        } else if self.learned.is_none() && rejects_limit() {
            self.output_limit = match self.output_limit {
                OutputLimit::MaxTokens => OutputLimit::MaxCompletionTokens,
                OutputLimit::MaxCompletionTokens => OutputLimit::MaxTokens,
            };
            self.learned = Some(self.output_limit);
        } else {
            return false;
        }
        true
    }
}

/// Builds a message's content: its text, or its text followed by its images.
fn content(message: &PromptMessage) -> Value {
    if message.images.is_empty() {
        return json!(message.text);
    }
    let image = |image: &PromptImage| {
        let url = format!("data:{};base64,{}", image.media_type, BASE64.encode(&image.data));
        json!({"type": "image_url", "image_url": {"url": url, "detail": "high"}})
    };
    let text = (!message.text.is_empty()).then(|| json!({"type": "text", "text": message.text}));
    text.into_iter().chain(message.images.iter().map(image)).collect()
}

fn body(request: &ModelRequest<'_>, fields: &Fields<'_>) -> Value {
    let mut body = request.raw.map_or_else(|| built(request), Value::clone);
    if let Some(sent) = body.as_object_mut() {
        // Of a request that is passed on, these are set for this server.
        for name in ["max_tokens", "max_completion_tokens", "stream_options", "reasoning_effort"] {
            sent.remove(name);
        }
    }
    body["stream"] = true.into();
    // The setting is named like the field.
    body[fields.output_limit.as_str()] = request.max_output.0.into();
    if fields.reports_usage {
        body["stream_options"] = json!({"include_usage": true});
    }
    if let Some(effort) = fields.effort {
        body["reasoning_effort"] = effort.into();
    }
    body
}

/// Builds the body of a conversation.
fn built(request: &ModelRequest<'_>) -> Value {
    let system = (!request.system.is_empty()).then(|| json!({"role": "system", "content": request.system}));
    let messages = request.messages.iter().map(|m| json!({"role": m.role.as_str(), "content": content(m)}));
    json!({"model": request.model, "messages": system.into_iter().chain(messages).collect::<Vec<_>>()})
}

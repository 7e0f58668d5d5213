//! Client for the Anthropic Messages API and for compatible servers by base URL: <https://docs.anthropic.com/en/api/messages>

use crate::error::Failure;
use crate::http::{self, Rejection};
use crate::messages::Messages;
use crate::{ModelRequest, Opened, Provider, ProviderError};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use domain::{PromptImage, PromptMessage};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::time::Duration;

/// Default base URL.
pub const BASE_URL: &str = "https://api.anthropic.com";

/// Settings of sampling, those first that are removed if a server rejects a combination.
const SAMPLING: [&str; 3] = ["top_k", "top_p", "temperature"];

/// Client for one server with the Messages API.
pub struct Anthropic {
    client: reqwest::Client,
    url: String,
    key: Option<SecretString>,
}

impl Anthropic {
    /// Creates a client; `None` as `base_url` uses Anthropic's own URL, and `None` as `key` sends no key.
    ///
    /// # Errors
    /// Returns an error if TLS can't be set up.
    pub fn new(
        base_url: Option<&str>,
        key: Option<SecretString>,
        connect_timeout: Duration,
    ) -> Result<Self, ProviderError> {
        let base = base_url.unwrap_or(BASE_URL).trim_end_matches('/').trim_end_matches("/v1");
        Ok(Self { client: http::client(connect_timeout)?, url: format!("{base}/v1/messages"), key })
    }
}

#[async_trait::async_trait]
impl Provider for Anthropic {
    async fn open(&self, request: &ModelRequest<'_>) -> Result<Opened, ProviderError> {
        let mut body = body(request);
        loop {
            let mut http_request = self.client.post(&self.url).header("anthropic-version", "2023-06-01").json(&body);
            if let Some(key) = &self.key {
                http_request = http_request.header("x-api-key", key.expose_secret());
            }
            let reader = Box::new(Messages::default());
            match http::open(http_request, reader, request.timeouts, request.raw.is_some()).await {
                Ok(chunks) => return Ok(Opened { chunks, learned: None }),
                Err(Rejection::Status(failure)) if drop_sampling(&mut body, &failure) => {}
                Err(rejection) => return Err(rejection.into()),
            }
        }
    }
}

/// Removes the setting of sampling that the server rejected, if the request has it. Returns whether the request is worth sending again: a rejected
/// request costs nothing. Which models take one, two or none of them is in no list, and clients send them to every model.
fn drop_sampling(body: &mut Value, failure: &Failure) -> bool {
    let Some(fields) = body.as_object_mut() else { return false };
    let rejected = SAMPLING.iter().find(|name| fields.contains_key(**name) && failure.rejects(name));
    rejected.is_some_and(|name| fields.remove(*name).is_some())
}

/// Builds a message's content: its text, or its images followed by its text, in the order that models read best.
fn content(message: &PromptMessage) -> Value {
    if message.images.is_empty() {
        return json!(message.text);
    }
    let image = |image: &PromptImage| {
        let source = json!({"type": "base64", "media_type": image.media_type, "data": BASE64.encode(&image.data)});
        json!({"type": "image", "source": source})
    };
    let text = (!message.text.is_empty()).then(|| json!({"type": "text", "text": message.text}));
    message.images.iter().map(image).chain(text).collect()
}

/// Marks a content as the end of a cacheable prefix: its last block, which a plain text becomes.
fn set_breakpoint(content: &mut Value) {
    if content.is_string() {
        *content = json!([{"type": "text", "text": content.take()}]);
    }
    if let Some(last) = content.as_array_mut().and_then(|blocks| blocks.last_mut()) {
        last["cache_control"] = json!({"type": "ephemeral"});
    }
}

/// Returns the body: the one that is passed on, or a built one.
fn body(request: &ModelRequest<'_>) -> Value {
    let mut body = request.raw.map_or_else(|| built(request), Value::clone);
    body["max_tokens"] = request.max_output.0.into();
    body["stream"] = true.into();
    body
}

/// Builds the body of a conversation: no sampling parameters and no beginning of the answer, which newer models reject. Up to a block with `cache_control` the
/// prompt is cached.
fn built(request: &ModelRequest<'_>) -> Value {
    let mut messages: Vec<Value> =
        request.messages.iter().map(|m| json!({"role": m.role.as_str(), "content": content(m)})).collect();
    let mut system = json!(request.system);
    if request.caches {
        let last = messages.last_mut().map(|message| &mut message["content"]);
        for content in last.into_iter().chain([&mut system]) {
            set_breakpoint(content);
        }
    }
    let mut body = json!({"model": request.model, "messages": messages});
    // Empty blocks are rejected.
    if !request.system.is_empty() {
        body["system"] = system;
    }
    if let Some(effort) = request.effort {
        body["output_config"] = json!({"effort": effort});
    }
    body
}

//! A proxy in front of the model server that records what each call was sent and what the server sent back. It can cut a response off.

use anyhow::Context as _;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing::post};
use futures::StreamExt as _;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};

/// One call as the model server answered it.
#[derive(Clone, Default)]
pub struct Call {
    /// The request.
    pub request: Value,
    /// Number of streamed events with text. The server sends one for each token, except that characters of several tokens are one.
    pub chunks: u64,
    /// The usage of the last event, if it arrived: prompt tokens, cached prompt tokens, completion tokens.
    pub usage: Option<(u64, u64, u64)>,
}

/// The proxy's state.
#[derive(Clone)]
pub struct Recorder {
    client: reqwest::Client,
    server: String,
    calls: Arc<Mutex<Vec<Call>>>,
    /// Number of events with text after which the next response is cut off.
    cut_after: Arc<Mutex<Option<u64>>>,
}

impl Recorder {
    /// Starts the proxy on a free port. Returns it and its base URL.
    ///
    /// # Errors
    /// Returns an error if no port is free.
    pub async fn start(server: &str) -> anyhow::Result<(Self, String)> {
        let client = bench::user::client()?;
        let recorder = Self { client, server: server.to_owned(), calls: Arc::default(), cut_after: Arc::default() };
        let router = Router::new().route("/v1/chat/completions", post(forward)).with_state(recorder.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok((recorder, url))
    }

    /// Returns all calls so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Cuts the next response off after a number of events with text.
    pub fn cut_next(&self, after: u64) {
        *self.cut_after.lock().unwrap_or_else(PoisonError::into_inner) = Some(after);
    }

    /// Repeats a call with one token of output and without streaming. Returns the prompt tokens that the server reports, which don't depend
    /// on what it samples.
    ///
    /// # Errors
    /// Returns an error if the server fails or reports no usage.
    pub async fn prompt_tokens(&self, call: &Call) -> anyhow::Result<u64> {
        let mut request = call.request.clone();
        if let Some(fields) = request.as_object_mut() {
            fields.retain(|name, _| !["stream_options", "max_completion_tokens"].contains(&name.as_str()));
        }
        request["stream"] = false.into();
        request["max_tokens"] = 1.into();
        let sent = self.client.post(format!("{}/v1/chat/completions", self.server)).json(&request).send().await?;
        let answer: Value = sent.error_for_status()?.json().await?;
        answer["usage"]["prompt_tokens"].as_u64().context("the server reports no prompt tokens")
    }

    fn update(&self, index: usize, change: impl FnOnce(&mut Call)) {
        if let Some(call) = self.calls.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            change(call);
        }
    }

    /// Notes one complete line of a stream. Returns the number of events with text so far.
    fn note(&self, index: usize, line: &str) -> u64 {
        let event: Value =
            line.strip_prefix("data:").and_then(|data| serde_json::from_str(data.trim()).ok()).unwrap_or_default();
        let delta = &event["choices"][0]["delta"];
        let has_text = ["content", "reasoning_content"]
            .iter()
            .any(|name| delta[*name].as_str().is_some_and(|text| !text.is_empty()));
        let usage = &event["usage"];
        let mut chunks = 0;
        self.update(index, |call| {
            call.chunks += u64::from(has_text);
            chunks = call.chunks;
            if let (Some(prompt), Some(completion)) =
                (usage["prompt_tokens"].as_u64(), usage["completion_tokens"].as_u64())
            {
                let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or(0);
                call.usage = Some((prompt, cached, completion));
            }
        });
        chunks
    }
}

/// Passes a call on and records it. A dropped response ends the call at the server too.
async fn forward(State(recorder): State<Recorder>, body: String) -> Response {
    let cut_after = recorder.cut_after.lock().unwrap_or_else(PoisonError::into_inner).take();
    let index = {
        let mut calls = recorder.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(Call { request: serde_json::from_str(&body).unwrap_or_default(), ..Call::default() });
        calls.len() - 1
    };
    let url = format!("{}/v1/chat/completions", recorder.server);
    let sent = recorder.client.post(url).header(CONTENT_TYPE, "application/json").body(body).send().await;
    let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = answer.headers().get(CONTENT_TYPE).cloned();
    let mut line = Vec::new();
    let mut is_cut = false;
    let pieces = answer.bytes_stream().map(move |piece| {
        let piece: Bytes = piece.map_err(std::io::Error::other)?;
        if is_cut {
            return Err(std::io::Error::other("cut off on purpose"));
        }
        for byte in &piece {
            if *byte == b'\n' {
                let chunks = recorder.note(index, &String::from_utf8_lossy(&line));
                is_cut |= cut_after.is_some_and(|after| chunks >= after);
                line.clear();
            } else {
                line.push(*byte);
            }
        }
        Ok(piece)
    });
    let mut response = (status, Body::from_stream(pieces)).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

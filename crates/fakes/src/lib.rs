//! Development and test servers on real sockets: a Stripe simulator (module `stripe`) and an LLM provider.
//!
//! The provider speaks both wire formats, follows the directives in the last message and records every call it serves. Tests compare
//! ledgers with that record.
//!
//! Directives are written in double braces and can be combined:
//!
//! - `{{words:40}}`: the response has 40 words; `{{pace:5}}`: 5 ms between words.
//! - `{{hold}}`, `{{hold:3}}`: waits halfway, or after three words, until released.
//! - `{{status:529}}`: refuses with this status; `{{times:2}}`: only the first two requests; `{{after:1}}`: with `Retry-After: 1`;
//!   `{{only:gpt-5-mini}}`: only as this model.
//! - `{{mute}}`: never starts to respond; `{{late}}`: starts once released. Both can be limited to a model: `{{mute:gpt-5-mini}}`.
//! - `{{break:3}}`: drops the connection after three words; `{{error:3}}`: sends an error event instead; `{{silent:3}}`: stops sending;
//!   `{{garbage:3}}`: sends invalid JSON; `{{cut:3}}`: ends the body cleanly but without the provider's end event.
//! - `{{cached:100}}`: 100 input tokens are reported as cached; `{{reasoning:5}}`: five words of reasoning come first; `{{nousage}}`: the
//!   final usage is omitted.
//! - `{{endless}}`: ignores the output limit; `{{bytes}}`: writes one byte at a time; `{{nul}}`: adds a NUL character to each word.

// Large Stripe objects exceed the default recursion limit of `json!`.
#![recursion_limit = "1024"]

mod script;
mod stripe;
mod wire;

pub use script::Script;
pub use stripe::FakeStripe;

/// Default signing secret of the Stripe simulator. It protects nothing.
pub const WEBHOOK_SECRET: &str = "whsec_fake";

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use wire::Format;

/// One call, as the provider would bill it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The model that was called.
    pub model: String,
    /// Input tokens that weren't read from cache.
    pub input: u64,
    /// Input tokens read from cache.
    pub cache_read: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// The part of output that was reasoning.
    pub reasoning: u64,
    /// Response text, as far as it was sent.
    pub text: String,
    /// Whether the provider's end of the response was sent.
    pub ended: bool,
    /// Whether the request had a system prompt.
    pub system: bool,
    /// Number of messages in the request.
    pub messages: usize,
    /// Requested maximum number of output tokens.
    pub max_output: u64,
}

#[derive(Clone)]
struct Shared {
    journal: Arc<Mutex<Vec<Served>>>,
    /// Held responses wait until this is `true`.
    released: watch::Sender<bool>,
    /// Number of requests by last message, including refused ones.
    request_counts: Arc<Mutex<HashMap<String, u64>>>,
    /// Default pause between words, in milliseconds.
    pace_ms: Arc<AtomicU64>,
}

/// A running fake LLM provider.
pub struct FakeProvider {
    addr: SocketAddr,
    shared: Shared,
}

impl FakeProvider {
    /// Starts a server on an address; port 0 selects a free port.
    ///
    /// # Errors
    /// Returns an error if the address is in use.
    pub async fn start(addr: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let shared = Shared {
            journal: Arc::default(),
            request_counts: Arc::default(),
            released: watch::Sender::new(false),
            pace_ms: Arc::default(),
        };
        let router = Router::new()
            .route("/v1/messages", post(async |state, body| answer(Format::Messages, state, body).await))
            .route("/v1/chat/completions", post(async |state, body| answer(Format::Completions, state, body).await))
            .route("/journal", get(journal))
            .route("/release", post(release))
            .route("/pace/{ms}", post(pace))
            .with_state(shared.clone());
        // Sends each write immediately, as providers do.
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { addr, shared })
    }

    /// Returns its URL: the base URL for Anthropic; the one for OpenAI has `/v1` appended.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns every served call, in order of arrival.
    #[must_use]
    pub fn served_calls(&self) -> Vec<Served> {
        lock(&self.shared.journal).clone()
    }

    /// Returns the number of requests whose last message is exactly this text, including refused ones.
    #[must_use]
    pub fn call_count(&self, last_message: &str) -> u64 {
        self.shared
            .request_counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(last_message)
            .copied()
            .unwrap_or(0)
    }

    /// Releases all held responses, including future ones.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }
}

fn lock(journal: &Mutex<Vec<Served>>) -> std::sync::MutexGuard<'_, Vec<Served>> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn journal(State(shared): State<Shared>) -> Json<Vec<Served>> {
    Json(lock(&shared.journal).clone())
}

async fn pace(State(shared): State<Shared>, Path(ms): Path<u64>) {
    shared.pace_ms.store(ms, Ordering::Relaxed);
}

async fn release(State(shared): State<Shared>) {
    shared.released.send_replace(true);
}

async fn answer(format: Format, State(shared): State<Shared>, Json(body): Json<serde_json::Value>) -> Response {
    let request = wire::read(format, &body);
    let script = Script::read(&request.last_message, shared.pace_ms.load(Ordering::Relaxed));
    let times = {
        let mut all = shared.request_counts.lock().unwrap_or_else(PoisonError::into_inner);
        let times = all.entry(request.last_message.clone()).or_default();
        *times += 1;
        *times
    };
    let is_about =
        |model: &Option<String>| model.as_ref().is_some_and(|model| model.is_empty() || *model == request.model);
    if is_about(&script.mute) {
        return std::future::pending().await;
    }
    if is_about(&script.late) {
        let _ = shared.released.subscribe().wait_for(|&released| released).await;
    }
    let refuses = script.only.as_ref().is_none_or(|model| *model == request.model);
    if let Some(status) = script.status.filter(|_| refuses && script.refusals.is_none_or(|max| times <= max)) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = Json(serde_json::json!({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}));
        return (status, [(header::RETRY_AFTER, script.retry_after.to_string())], error).into_response();
    }
    let index = {
        let mut journal = lock(&shared.journal);
        let served = Served {
            model: request.model.clone(),
            input: request.words.saturating_sub(script.cached),
            cache_read: script.cached.min(request.words),
            system: request.has_system,
            messages: request.messages,
            max_output: request.max_output,
            ..Served::default()
        };
        journal.push(served);
        journal.len() - 1
    };
    let mut steps = wire::steps(format, &request, &script);
    let released = shared.released.subscribe();
    let stream = futures::stream::unfold((steps.remove(0), steps.into_iter()), move |(step, mut rest)| {
        let (shared, mut released) = (shared.clone(), released.clone());
        async move {
            // Flushes the previous write: each event is a separate write, also just before the connection breaks.
            tokio::task::yield_now().await;
            if step.pause_ms > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(step.pause_ms)).await;
            }
            if step.holds {
                let _ = released.wait_for(|&released| released).await;
            }
            if step.is_silent {
                return std::future::pending().await;
            }
            if step.breaks {
                return Some((Err(std::io::Error::other("broken on purpose")), (wire::Step::over(), rest)));
            }
            if step.is_over {
                return None;
            }
            if let Some(served) = lock(&shared.journal).get_mut(index) {
                served.output += step.output;
                served.reasoning += step.reasoning;
                served.text.push_str(&step.word);
                served.ended |= step.ends;
            }
            let next = rest.next().unwrap_or_else(wire::Step::over);
            Some((Ok::<_, std::io::Error>(bytes::Bytes::from(step.wire)), (next, rest)))
        }
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    if script.by_bytes {
        let each = |bytes: bytes::Bytes| futures::stream::iter((0..bytes.len()).map(move |n| Ok(bytes.slice(n..=n))));
        let pieces = stream.flat_map(move |part: Result<bytes::Bytes, std::io::Error>| match part {
            Ok(bytes) => each(bytes).left_stream(),
            Err(error) => futures::stream::iter([Err(error)]).right_stream(),
        });
        // Flushes, so that each byte is a separate write.
        let pieces = pieces.then(async |piece| {
            tokio::task::yield_now().await;
            piece
        });
        return (kind, Body::from_stream(pieces)).into_response();
    }
    (kind, Body::from_stream(stream)).into_response()
}

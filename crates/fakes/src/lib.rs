//! Fakes on real sockets: a Stripe (`stripe`), and a model provider, for development and tests: speaks both wire formats, does what the question tells it
//! to, and counts what it served. The count is the oracle that ledgers are compared with.
//!
//! A question may hold directives in double braces: `{{words:40}}` how much to say, `{{pace:5}}` milliseconds between
//! words, `{{hold}}` wait halfway until released, `{{status:529}}` refuse, `{{break:3}}` drop the connection after three
//! words, `{{error:3}}` send an error event instead, `{{cached:100}}`, `{{reasoning:5}}`, `{{nousage}}`, `{{endless}}`
//! ignore the length limit; `{{status:529}}{{times:2}}{{after:1}}` refuse twice and say to come back in a second, `{{mute}}` never
//! begin, `{{late}}` begin once released (both also for one model: `{{mute:gpt-5-mini}}`; `{{only:gpt-5-mini}}` refuses as one model), `{{silent:3}}` `{{garbage:3}}` `{{cut:3}}` fall silent, talk nonsense or end without an end after three words,
//! `{{bytes}}` write one byte at a time, `{{hold:3}}` wait after three words.

// Objects of Stripe's are long.
#![recursion_limit = "1024"]

mod script;
mod stripe;
mod wire;

pub use script::Script;
pub use stripe::FakeStripe;

/// What the Stripe simulator signs with unless told otherwise. It guards nothing.
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
    /// The model that was asked.
    pub model: String,
    /// Input tokens that came from no cache.
    pub input: u64,
    /// Input tokens read from cache.
    pub cache_read: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// The part of output that was reasoning.
    pub reasoning: u64,
    /// The words of the answer, as far as they were sent.
    pub text: String,
    /// Whether the provider's own end was sent.
    pub ended: bool,
    /// Whether it had a system prompt.
    pub system: bool,
    /// Messages in the prompt.
    pub messages: usize,
    /// The limit that was asked for.
    pub max_output: u64,
}

#[derive(Clone)]
struct Shared {
    journal: Arc<Mutex<Vec<Served>>>,
    /// Answers that hold wait until this is true.
    released: watch::Sender<bool>,
    /// How often each question was asked, refusals counted too.
    asked: Arc<Mutex<HashMap<String, u64>>>,
    /// Milliseconds between words where the question says nothing.
    pace_ms: Arc<AtomicU64>,
}

/// A running fake.
pub struct FakeProvider {
    addr: SocketAddr,
    shared: Shared,
}

impl FakeProvider {
    /// Starts on an address; port 0 takes a free one.
    ///
    /// # Errors
    /// Returns an error if the address is in use.
    pub async fn start(addr: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let shared = Shared {
            journal: Arc::default(),
            asked: Arc::default(),
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
        // A provider's words leave as they are said.
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { addr, shared })
    }

    /// Where it listens: the base URL for Anthropic; OpenAI's has `/v1` behind it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Everything it served, in the order of arrival.
    #[must_use]
    pub fn served(&self) -> Vec<Served> {
        lock(&self.shared.journal).clone()
    }

    /// How often a question was asked, by its whole text, refusals counted too.
    #[must_use]
    pub fn asked(&self, question: &str) -> u64 {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).get(question).copied().unwrap_or(0)
    }

    /// Lets answers that hold go on, those to come too.
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
    let asked = wire::read(format, &body);
    let script = Script::read(&asked.question, shared.pace_ms.load(Ordering::Relaxed));
    let times = {
        let mut all = shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let times = all.entry(asked.question.clone()).or_default();
        *times += 1;
        *times
    };
    let is_about =
        |model: &Option<String>| model.as_ref().is_some_and(|model| model.is_empty() || *model == asked.model);
    if is_about(&script.mute) {
        return std::future::pending().await;
    }
    if is_about(&script.late) {
        let _ = shared.released.subscribe().wait_for(|&released| released).await;
    }
    let refuses = script.only.as_ref().is_none_or(|model| *model == asked.model);
    if let Some(status) = script.status.filter(|_| refuses && script.refusals.is_none_or(|most| times <= most)) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = Json(serde_json::json!({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}));
        return (status, [(header::RETRY_AFTER, script.retry_after.to_string())], error).into_response();
    }
    let index = {
        let mut journal = lock(&shared.journal);
        let served = Served {
            model: asked.model.clone(),
            input: asked.words.saturating_sub(script.cached),
            cache_read: script.cached.min(asked.words),
            system: asked.has_system,
            messages: asked.messages,
            max_output: asked.max_output,
            ..Served::default()
        };
        journal.push(served);
        journal.len() - 1
    };
    let mut steps = wire::steps(format, &asked, &script);
    let released = shared.released.subscribe();
    let stream = futures::stream::unfold((steps.remove(0), steps.into_iter()), move |(step, mut rest)| {
        let (shared, mut released) = (shared.clone(), released.clone());
        async move {
            // Lets go of what was written before: each event is a write of its own, also ahead of a broken connection.
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
        // Each a write of its own.
        let pieces = pieces.then(async |piece| {
            tokio::task::yield_now().await;
            piece
        });
        return (kind, Body::from_stream(pieces)).into_response();
    }
    (kind, Body::from_stream(stream)).into_response()
}

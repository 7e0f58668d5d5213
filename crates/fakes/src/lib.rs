//! Development and test servers on real sockets: a Stripe simulator (module `stripe`), an identity provider
//! (module [`oidc`]), a captcha's provider, a service that lists breached passwords, an object store and an LLM provider.
//!
//! The provider speaks both wire formats, follows the directives in the last message and records every call it serves. Tests compare
//! ledgers with that record.
//!
//! Directives are written in double braces and can be combined. What a response consists of:
//!
//! - `{{words:40}}`: the response has 40 words; `{{pace:5}}`: 5 ms between words; `{{head:90}}`: 90 ms of silence after the response head.
//! - `{{reasoning:5}}`: five words of reasoning come first; `{{think:5}}`: five tokens of reasoning that are billed but not sent, each as
//!   slow as a word.
//! - `{{hold}}`, `{{hold:3}}`: waits halfway, or after three words, until released.
//! - `{{refuse}}`, `{{filter}}`, `{{toolcall}}`: the response ends in this way; `{{nofinish}}`: without a reason.
//! - `{{tool:NAME}}`: calls this tool of the request, with arguments that match its schema; more of them are parallel calls. A request that
//!   demands a tool, or output that matches a schema, gets it without a directive.
//! - `{{endless}}`: ignores the output limit; `{{bytes}}`: writes one byte at a time; `{{nul}}`: adds a NUL character to each word.
//!
//! What it costs:
//!
//! - `{{cached:100}}`, `{{cachewrite:100}}`, `{{cachewrite1h:100}}`: 100 input tokens are reported as read from the cache, or as written to
//!   it. Without these, a prompt in Anthropic's format is cached up to its marks.
//! - `{{bill:1,2,3,1,9,4}}`: exactly this is billed: input, cache reads, cache writes, the long-lived part of these, output, the reasoning
//!   part of that.
//! - `{{beside}}`: `completion_tokens` excludes reasoning; `{{cachedbeside}}`: `prompt_tokens` excludes cached tokens; `{{nototal}}`: no
//!   `total_tokens`; `{{nousage}}`: the final usage is omitted.
//!
//! How it fails:
//!
//! - `{{status:529}}`: refuses with this status; `{{after:1}}`: with `Retry-After: 1`. `{{credit}}`, `{{key}}`, `{{unknown}}`,
//!   `{{toolong:900}}`: refuses in the format's own way, for lack of credit, a wrong key, an unknown model, more than 900 tokens.
//!   `{{rejects:max_tokens}}`: refuses requests with this field.
//! - `{{fixture:NAME}}`: serves `crates/providers/fixtures/odd/NAME.http`; the call is recorded without numbers.
//! - `{{times:2}}`: refuses, or serves the recorded response, only twice; `{{only:gpt-5-mini}}`: only as this model.
//! - `{{mute}}`: never starts to respond; `{{late}}`: starts once released. Both can be limited to a model: `{{mute:gpt-5-mini}}`.
//! - `{{break:3}}`: drops the connection after three words; `{{error:3}}`: sends an error event instead; `{{silent:3}}`: stops sending;
//!   `{{garbage:3}}`: sends invalid JSON; `{{cut:3}}`: ends the body cleanly but without the provider's end event.
//!
//! Images are billed by the formulas of both providers.
//!
//! Requests that real providers reject get status 400: two names for the output limit, sampling parameters, blank messages, images that
//! aren't what they claim to be, authors that don't alternate, an assistant's message at the end, tool calls without results and results without
//! calls. A call stops generating when its connection closes, and is billed up to there.

// Large Stripe objects exceed the default recursion limit of `json!`.
#![recursion_limit = "1024"]

mod bill;
mod breached_passwords;
mod cache;
mod captcha;
mod format;
mod objects;
pub mod oidc;
mod picture;
mod refusal;
mod request;
mod script;
mod stripe;
mod tools;
mod wire;

pub use bill::Bill;
pub use breached_passwords::{FakeBreachedPasswords, RangeMode};
pub use captcha::{CAPTCHA_SECRET, FakeCaptcha};
pub use objects::FakeObjects;
pub use request::Sent;
pub use script::{Ending, Refusal, Script, Shape};
pub use stripe::FakeStripe;

/// Default signing secret of the Stripe simulator. It protects nothing.
pub const WEBHOOK_SECRET: &str = "whsec_fake";

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use cache::Cache;
use format::Format;
use futures::{Stream, StreamExt as _, stream};
use request::Request;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use wire::Step;

/// One call, as the provider would bill it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The model that was called.
    pub model: String,
    /// Input tokens that were neither read from the cache nor written to it.
    pub input: u64,
    /// Input tokens read from the cache.
    pub cache_read: u64,
    /// Input tokens written to the cache, all lifetimes.
    pub cache_write: u64,
    /// The part of `cache_write` with the longer lifetime.
    pub cache_write_long: u64,
    /// Output tokens generated so far, including reasoning.
    pub output: u64,
    /// The part of output that was reasoning.
    pub reasoning: u64,
    /// Response text sent so far.
    pub text: String,
    /// Whether the provider's end of the response was sent.
    pub ended: bool,
    /// Whether the request had a system prompt.
    pub system: bool,
    /// Number of messages in the request.
    pub messages: usize,
    /// The messages of the request, without the system prompt.
    pub sent: Vec<Sent>,
    /// Requested maximum number of output tokens.
    pub max_output: u64,
    /// The field that carried `max_output`.
    pub limit_name: String,
    /// The requested reasoning effort.
    pub effort: Option<String>,
}

impl Served {
    /// Returns all tokens that are billed.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.input + self.cache_read + self.cache_write + self.output
    }
}

#[derive(Clone)]
struct Shared {
    journal: Arc<Mutex<Vec<Served>>>,
    /// Held responses wait until this is `true`.
    released: watch::Sender<bool>,
    /// Number of requests by last message, including refused ones.
    request_counts: Arc<Mutex<HashMap<String, u64>>>,
    /// What was wrong with requests that real providers reject.
    violations: Arc<Mutex<Vec<String>>>,
    cache: Arc<Mutex<Cache>>,
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
            violations: Arc::default(),
            cache: Arc::default(),
            released: watch::Sender::new(false),
            pace_ms: Arc::default(),
        };
        let router = Router::new()
            .route("/v1/messages", post(async |state, body| answer(Format::Messages, state, body).await))
            .route("/v1/chat/completions", post(async |state, body| answer(Format::Completions, state, body).await))
            // Requests with images are large.
            .layer(DefaultBodyLimit::disable())
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
        lock(&self.shared.request_counts).get(last_message).copied().unwrap_or(0)
    }

    /// Returns what was wrong with requests that real providers reject.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        lock(&self.shared.violations).clone()
    }

    /// Releases all held responses, including future ones.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    let request = request::read(format, &body);
    let script = Script::read(&request.last_message, shared.pace_ms.load(Ordering::Relaxed));
    let times = {
        let mut all = lock(&shared.request_counts);
        let times = all.entry(request.last_message.clone()).or_default();
        *times += 1;
        *times
    };
    if let Some(violation) = &request.violation {
        lock(&shared.violations).push(violation.clone());
        return refusal::invalid(format, violation);
    }
    let is_about =
        |model: &Option<String>| model.as_ref().is_some_and(|model| model.is_empty() || *model == request.model);
    if is_about(&script.mute) {
        return std::future::pending().await;
    }
    if is_about(&script.late) {
        let _ = shared.released.subscribe().wait_for(|&released| released).await;
    }
    let applies = script.applies_to(&request.model, times);
    let refused = script.refusal.as_ref().filter(|_| applies);
    if let Some(refused) = refused.and_then(|how| refusal::response(format, how, &request, &script.retry_after)) {
        return refused;
    }
    if let Some(name) = script.fixture.as_ref().filter(|_| applies) {
        record(&shared, &request, Bill::default());
        return refusal::replay(name, script.by_bytes);
    }
    let prompt = wire::bill_of_prompt(format, &request, &script, &mut lock(&shared.cache));
    let index = record(&shared, &request, prompt);
    let calls = tools::called(&body, &request.tools, &script.tools);
    let written = write(shared, index, wire::steps(format, &request, &script, prompt, calls));
    let body = if script.by_bytes { bytewise(written) } else { Body::from_stream(written) };
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// Adds a call to the journal and returns its index.
fn record(shared: &Shared, request: &Request, prompt: Bill) -> usize {
    let mut journal = lock(&shared.journal);
    journal.push(Served {
        model: request.model.clone(),
        input: prompt.input,
        cache_read: prompt.cache_read,
        cache_write: prompt.cache_write,
        cache_write_long: prompt.cache_write_long,
        system: request.has_system,
        messages: request.messages,
        sent: request.sent(),
        max_output: request.max_output,
        limit_name: request.limit_name.clone(),
        effort: request.effort.clone(),
        ..Served::default()
    });
    journal.len() - 1
}

/// A piece of a response.
type Piece = Result<Bytes, std::io::Error>;

/// Writes a response step by step and records what was generated. Dropped when the connection closes, which ends both.
fn write(shared: Shared, index: usize, steps: Vec<Step>) -> impl Stream<Item = Piece> + Send + 'static {
    stream::unfold(Some(steps.into_iter()), move |rest| {
        let shared = shared.clone();
        async move {
            let mut rest = rest?;
            let mut released = shared.released.subscribe();
            loop {
                // Flushes the previous write: each event is a separate write, also just before the connection breaks.
                tokio::task::yield_now().await;
                let step = rest.next()?;
                if step.pause_ms > 0 {
                    tokio::time::sleep(Duration::from_millis(step.pause_ms)).await;
                }
                if step.holds {
                    let _ = released.wait_for(|&released| released).await;
                }
                if step.is_silent {
                    return std::future::pending().await;
                }
                if step.breaks {
                    return Some((Err(std::io::Error::other("broken on purpose")), None));
                }
                if let Some(served) = lock(&shared.journal).get_mut(index) {
                    served.output += step.output;
                    served.reasoning += step.reasoning;
                    served.text.push_str(&step.word);
                    served.ended |= step.ends;
                }
                if !step.wire.is_empty() {
                    return Some((Ok(Bytes::from(step.wire)), Some(rest)));
                }
            }
        }
    })
}

/// Writes a response byte by byte.
fn bytewise(pieces: impl Stream<Item = Piece> + Send + 'static) -> Body {
    let each = |bytes: Bytes| stream::iter((0..bytes.len()).map(move |n| Ok(bytes.slice(n..=n))));
    let bytes = pieces.flat_map(move |piece: Piece| match piece {
        Ok(bytes) => each(bytes).left_stream(),
        Err(error) => stream::iter([Err(error)]).right_stream(),
    });
    // Flushes, so that each byte is a separate write.
    Body::from_stream(bytes.then(async |piece| {
        tokio::task::yield_now().await;
        piece
    }))
}

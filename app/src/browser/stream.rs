//! Streams a turn's events with `fetch`, because `EventSource` can neither send a POST nor read the body of an error response.

use super::api::{self, Failure, Refusal, Reply};
use super::clock;
use super::json::Json;
use super::morph::Update;
use super::wake::{Wake, pause};
use domain::sse::{SseEvent, SseParser};
use futures::future::{Either, select};
use std::collections::VecDeque;
use std::pin::pin;
use wasm_bindgen_futures::JsFuture;
use web_sys::ReadableStreamDefaultReader;

/// An event of a turn whose response is rendered by the server.
#[derive(Debug)]
pub enum Event {
    /// The first event.
    Turn(Json),
    /// Changes of the response's HTML.
    Blocks(Vec<Update>),
    /// A piece of the model's reasoning, in plain text.
    Reasoning(String),
    /// The last event of a turn that ended.
    Finish(Json),
    /// The last event of a turn that failed.
    Failed(Refusal),
}

impl Event {
    /// Whether it is the last event of its turn.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Finish(_) | Self::Failed(_))
    }
}

/// The events of one turn, over one connection.
#[derive(Debug)]
pub struct Events {
    reader: ReadableStreamDefaultReader,
    parser: SseParser,
    pending: VecDeque<(u64, Event)>,
    last_received_ms: u64,
    _reply: Reply,
}

/// Silence in milliseconds after which the connection counts as broken. The server sends a heartbeat every ten seconds.
const SILENCE_MS: u32 = 30_000;
/// The same when the user comes back to the page: a heartbeat is overdue.
const OVERDUE_MS: u64 = 12_000;

/// Starts a turn and returns its events. The body of the request names the turn's id, so that it can be repeated safely.
///
/// # Errors
/// Returns the server's refusal, or that no response arrived.
pub async fn start_turn(body: &str) -> Result<Events, Failure> {
    events(api::send("POST", "/api/chat?view=html", Some(body)).await?)
}

/// Returns a turn's events with sequence numbers above `after`.
///
/// # Errors
/// Returns the server's refusal if the event log has expired or the turn isn't the user's, or that no response arrived.
pub async fn resume(turn: &str, after: u64) -> Result<Events, Failure> {
    events(api::send("GET", &format!("/api/turns/{turn}/events?view=html&after={after}"), None).await?)
}

fn events(reply: Reply) -> Result<Events, Failure> {
    let body = reply.response.body().ok_or(Failure::Offline)?;
    let reader = ReadableStreamDefaultReader::new(&body).map_err(|_| Failure::Offline)?;
    Ok(Events {
        reader,
        parser: SseParser::new(),
        pending: VecDeque::new(),
        last_received_ms: clock::now_ms(),
        _reply: reply,
    })
}

impl Events {
    /// Returns the next event with its sequence number. Returns `None` when the connection has ended or broken.
    pub async fn next(&mut self) -> Option<(u64, Event)> {
        while self.pending.is_empty() {
            let bytes = self.read().await?;
            self.last_received_ms = clock::now_ms();
            self.pending.extend(self.parser.feed(&bytes).iter().filter_map(read_event));
        }
        self.pending.pop_front()
    }

    async fn read(&self) -> Option<Vec<u8>> {
        let mut chunk = pin!(JsFuture::from(self.reader.read()));
        loop {
            match select(chunk.as_mut(), pin!(pause(SILENCE_MS))).await {
                Either::Left((chunk, _)) => {
                    let chunk = Json::from_js(chunk.ok()?);
                    return (!chunk.flag("done")).then(|| chunk.bytes("value"));
                }
                Either::Right((Wake::Seen, _))
                    if clock::now_ms().saturating_sub(self.last_received_ms) < OVERDUE_MS => {}
                Either::Right(_) => return None,
            }
        }
    }
}

fn read_event(event: &SseEvent) -> Option<(u64, Event)> {
    let data = Json::parse(&event.data)?;
    let update = |update: Json| {
        Some(Update {
            block: usize::try_from(update.number("block")?).ok()?,
            keep: usize::try_from(update.number("keep").unwrap_or(0)).ok()?,
            html: update.text("html")?,
        })
    };
    let read = match event.name.as_str() {
        "turn" => Event::Turn(data),
        "block" => Event::Blocks(data.items("updates").into_iter().filter_map(update).collect()),
        "reasoning" => Event::Reasoning(data.text("text")?),
        "finish" => Event::Finish(data),
        "failed" => Event::Failed(Refusal::read(&data.field("problem"), 0)?),
        _ => return None,
    };
    Some((event.id.parse().ok()?, read))
}

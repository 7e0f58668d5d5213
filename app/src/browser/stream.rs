//! Streams a turn's events with `fetch`, because `EventSource` can neither send a POST nor read the body of an error response.

use super::api;
use domain::sse::{SseEvent, SseParser};
use domain::{ConversationId, ModelName, Problem, TurnEvent, TurnId};
use futures::future::{Either, select};
use futures::{Stream, StreamExt, stream};
use gloo_timers::future::TimeoutFuture;
use serde::Serialize;
use std::pin::pin;
use wasm_bindgen::JsCast;
use web_sys::Response;

/// The body of `POST /api/chat`.
#[derive(Serialize)]
pub struct ChatRequest<'a> {
    /// The conversation to continue; `None` starts a new one.
    pub conversation_id: Option<ConversationId>,
    /// The model to call; `None` uses the plan's default.
    pub model: Option<&'a ModelName>,
    /// The reasoning effort; `None` leaves it to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<&'a str>,
    /// The user's message; `None` regenerates the response of `retry_of`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    /// The turn whose response is regenerated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<TurnId>,
    /// The turn's id, chosen by the client. It is the idempotency key, so a request can be retried safely.
    pub turn_id: TurnId,
}

/// Starts a turn and returns its events with their sequence numbers.
///
/// # Errors
/// Returns the server's problem if the turn is refused, or [`api::offline`] if no response arrived.
pub async fn start_turn(request: &ChatRequest<'_>) -> Result<impl Stream<Item = (u64, TurnEvent)> + use<>, Problem> {
    let body = serde_json::to_string(request).map_err(|_| api::offline())?;
    Ok(events(&api::send("POST", "/api/chat", Some(&body)).await?))
}

/// Returns a turn's events with sequence numbers above `after`.
///
/// # Errors
/// Returns the server's problem if the event log is gone or the turn isn't the user's, or [`api::offline`] if no response arrived.
pub async fn resume(turn: TurnId, after: u64) -> Result<impl Stream<Item = (u64, TurnEvent)> + use<>, Problem> {
    Ok(events(&api::send("GET", &format!("/api/turns/{turn}/events?after={after}"), None).await?))
}

/// Silence in milliseconds after which the connection counts as broken. The server sends a heartbeat every ten seconds.
const SILENCE_MS: u32 = 30_000;

fn events(response: &Response) -> impl Stream<Item = (u64, TurnEvent)> + use<> {
    let bytes = response.body().map(|body| wasm_streams::ReadableStream::from_raw(body.unchecked_into()).into_stream());
    stream::unfold((bytes, SseParser::new()), async |(bytes, mut parser)| {
        let mut bytes = bytes?;
        let silence = pin!(TimeoutFuture::new(SILENCE_MS));
        // A silently broken connection sends nothing, so the stream ends after this timeout and the caller resumes the turn.
        let Either::Left((Some(Ok(chunk)), _)) = select(bytes.next(), silence).await else { return None };
        let events: Vec<_> = parser.feed(&js_sys::Uint8Array::new(&chunk).to_vec()).iter().filter_map(read).collect();
        Some((stream::iter(events), (Some(bytes), parser)))
    })
    .flatten()
}

fn read(event: &SseEvent) -> Option<(u64, TurnEvent)> {
    let data: serde_json::Value = serde_json::from_str(&event.data).ok()?;
    let event_of = serde_json::json!({"event": event.name, "data": data});
    Some((event.id.parse().ok()?, serde_json::from_value(event_of).ok()?))
}

//! A turn's events over fetch, since `EventSource` can neither POST nor read a refusal's body.

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
pub struct Question<'a> {
    /// Where it belongs; none begins a conversation.
    pub conversation_id: Option<ConversationId>,
    /// Who shall answer.
    pub model: Option<&'a ModelName>,
    /// What is asked; none answers `retry_of` again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    /// The turn that is answered again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<TurnId>,
    /// Makes sending it twice harmless.
    pub turn_id: TurnId,
}

/// Asks, and answers the turn's events with their numbers.
///
/// # Errors
/// The refusal, or that nothing came back.
pub async fn ask(question: &Question<'_>) -> Result<impl Stream<Item = (u64, TurnEvent)> + use<>, Problem> {
    let body = serde_json::to_string(question).map_err(|_| api::offline())?;
    Ok(events(&api::send("POST", "/api/chat", Some(&body)).await?))
}

/// The events of a turn after number `after`.
///
/// # Errors
/// Where it is gone or not ours, or nothing came back.
pub async fn resume(turn: TurnId, after: u64) -> Result<impl Stream<Item = (u64, TurnEvent)> + use<>, Problem> {
    Ok(events(&api::send("GET", &format!("/api/turns/{turn}/events?after={after}"), None).await?))
}

/// The server is never silent for so long: it sends a heartbeat every ten seconds.
const SILENCE_MS: u32 = 30_000;

fn events(response: &Response) -> impl Stream<Item = (u64, TurnEvent)> + use<> {
    let bytes = response.body().map(|body| wasm_streams::ReadableStream::from_raw(body.unchecked_into()).into_stream());
    stream::unfold((bytes, SseParser::new()), async |(bytes, mut parser)| {
        let mut bytes = bytes?;
        let silence = pin!(TimeoutFuture::new(SILENCE_MS));
        // A connection that broke without a word looks like silence; the reader takes the turn up again.
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

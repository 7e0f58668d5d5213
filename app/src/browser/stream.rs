//! A turn's events over fetch, since `EventSource` can neither POST nor read a refusal's body.

use super::api;
use domain::sse::{SseEvent, SseParser};
use domain::{ConversationId, ModelName, Problem, TurnEvent, TurnId};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use wasm_bindgen::JsCast;
use web_sys::Response;

/// The body of `POST /api/chat`.
#[derive(Serialize)]
pub struct Question<'a> {
    /// Where it belongs; none begins a conversation.
    pub conversation_id: Option<ConversationId>,
    /// Who shall answer.
    pub model: Option<&'a ModelName>,
    /// What is asked.
    pub text: &'a str,
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

fn events(response: &Response) -> impl Stream<Item = (u64, TurnEvent)> + use<> {
    let mut parser = SseParser::new();
    let bytes = response.body().map(|body| wasm_streams::ReadableStream::from_raw(body.unchecked_into()).into_stream());
    let chunks = stream::iter(bytes).flatten().take_while(|chunk| std::future::ready(chunk.is_ok()));
    chunks.flat_map(move |chunk| {
        let bytes = chunk.map(|chunk| js_sys::Uint8Array::new(&chunk).to_vec()).unwrap_or_default();
        stream::iter(parser.feed(&bytes).iter().filter_map(read).collect::<Vec<_>>())
    })
}

fn read(event: &SseEvent) -> Option<(u64, TurnEvent)> {
    let data: serde_json::Value = serde_json::from_str(&event.data).ok()?;
    let event_of = serde_json::json!({"event": event.name, "data": data});
    Some((event.id.parse().ok()?, serde_json::from_value(event_of).ok()?))
}

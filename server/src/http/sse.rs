//! Sends a turn's events as server-sent events.

use crate::protection::streams::OpenStream;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::Quota;
use futures::{Stream, StreamExt as _};
use http::{HeaderMap, HeaderValue, header};
use relay::{Entry, Tail};
use std::convert::Infallible;
use std::time::Duration;

/// Interval of keep-alive comments, so that no proxy closes the connection (field note 24).
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Streams a tail of events until its end, or until its session ends. `quota` fills the rate limit headers.
pub(crate) fn answer(tail: Tail, quota: Option<&Quota>, stream: OpenStream) -> Response {
    let ended = stream.ended().cancelled_owned();
    let mut response = events(tail.take_until(ended).map(move |entry| {
        // The user's slot is taken until the stream is dropped.
        let _stream = &stream;
        entry
    }));
    if let Some(quota) = quota {
        limit_headers(response.headers_mut(), quota);
    }
    response
}

/// Streams events until their end.
pub(crate) fn events(entries: impl Stream<Item = Entry> + Send + 'static) -> Response {
    let events = entries.map(|entry| Ok::<_, Infallible>(event(&entry)));
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn event(entry: &Entry) -> Event {
    Event::default().id(entry.id.to_string()).event(entry.name).data(&*entry.data)
}

/// Sets the rate limit headers: <https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>
fn limit_headers(headers: &mut HeaderMap, quota: &Quota) {
    let seconds = |ms: Option<u64>| ms.unwrap_or(0).div_ceil(1000);
    let policy = format!(r#""requests";q={};w=60, "tokens";q={};w=86400"#, quota.requests.limit, quota.tokens.limit);
    let state = format!(
        r#""requests";r={};t={}, "tokens";r={};t={}"#,
        quota.requests.remaining,
        seconds(quota.requests.reset_ms),
        quota.tokens.remaining,
        seconds(quota.tokens.next_free_ms),
    );
    for (name, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

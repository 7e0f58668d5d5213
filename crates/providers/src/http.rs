//! What both HTTP providers share: the client, error parsing, and server-sent events.

use crate::{Chunk, Chunks, ProviderError};
use domain::sse::{SseEvent, SseParser};
use futures::{StreamExt, stream};
use reqwest::{Client, RequestBuilder, Response};
use std::{collections::VecDeque, time::Duration};

/// Timeouts of a call to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Maximum time to connect.
    pub connect: Duration,
    /// Maximum time from sending the request to the response head, connecting included.
    pub first_byte: Duration,
    /// Maximum silence within a response.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(5), first_byte: seconds(60), idle: seconds(90) }
    }
}

/// Maximum size of one event, in bytes; a larger one fails the stream.
const EVENT_BYTES: usize = 1 << 20;

/// Builds the HTTP client for all calls to a provider.
///
/// # Errors
/// Returns an error if TLS can't be set up.
pub(crate) fn client(timeouts: Timeouts) -> Result<Client, ProviderError> {
    Client::builder()
        .connect_timeout(timeouts.connect)
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| ProviderError::Unreachable(error.without_url().to_string()))
}

/// Sends a request and maps failure statuses to errors.
pub(crate) async fn send(request: RequestBuilder, timeouts: Timeouts) -> Result<Response, ProviderError> {
    let sent = tokio::time::timeout(timeouts.first_byte, request.send()).await;
    let response = sent.map_err(|_| ProviderError::TimedOut)?.map_err(|error| match error.is_connect() {
        true => ProviderError::Unreachable(error.without_url().to_string()),
        // The request may have been sent.
        false => ProviderError::StreamFailed(error.without_url().to_string()),
    })?;
    let status = response.status().as_u16();
    match status {
        200..300 => Ok(response),
        // A proxy timed out; the model may still be processing the call, and bill it.
        408 | 504 | 524 => Err(ProviderError::TimedOut),
        429 | 500..600 => {
            let header =
                response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
            Err(ProviderError::Busy { status, retry_after_ms: header.map(|seconds| seconds.saturating_mul(1000)) })
        }
        _ => {
            #[derive(serde::Deserialize)]
            struct Body {
                error: Inner,
            }
            #[derive(serde::Deserialize)]
            struct Inner {
                r#type: Option<String>,
            }
            let kind = response.json::<Body>().await.ok().and_then(|body| body.error.r#type);
            Err(ProviderError::Refused { status, kind: kind.unwrap_or_else(|| "no reason given".into()) })
        }
    }
}

/// Reads the events of one provider's stream as chunks.
pub(crate) trait Reader: Send + 'static {
    /// Converts an event to any number of chunks.
    fn read(&mut self, event: &SseEvent) -> Result<Vec<Chunk>, ProviderError>;
    /// Returns the remaining chunks at the end of the body, if it was a proper end.
    fn close(&mut self) -> Vec<Chunk> {
        Vec::new()
    }
}

struct Reading<R> {
    response: Response,
    parser: SseParser,
    reader: R,
    ready: VecDeque<Chunk>,
    over: bool,
    idle: Duration,
}

/// The chunks of a response. Ends after the provider's `End`, after an error, or when the bytes end.
pub(crate) fn chunks<R: Reader>(response: Response, reader: R, timeouts: Timeouts) -> Chunks {
    let parser = SseParser::new();
    let state = Reading { response, parser, reader, ready: VecDeque::new(), over: false, idle: timeouts.idle };
    stream::unfold(state, async |mut state| {
        let next = state.next().await;
        next.map(|item| (item, state))
    })
    .boxed()
}

impl<R: Reader> Reading<R> {
    async fn next(&mut self) -> Option<Result<Chunk, ProviderError>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                self.over |= matches!(chunk, Chunk::End(_));
                return Some(Ok(chunk));
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.more().await {
                self.over = true;
                return Some(Err(error));
            }
        }
    }

    async fn more(&mut self) -> Result<(), ProviderError> {
        let read = tokio::time::timeout(self.idle, self.response.chunk()).await;
        let bytes = read
            .map_err(|_| ProviderError::StreamFailed("no data in time".into()))?
            .map_err(|error| ProviderError::StreamFailed(error.without_url().to_string()))?;
        let Some(bytes) = bytes else {
            self.over = true;
            self.ready.extend(self.reader.close());
            return Ok(());
        };
        for event in self.parser.feed(&bytes) {
            self.ready.extend(self.reader.read(&event)?);
        }
        if self.parser.pending_bytes() > EVENT_BYTES {
            return Err(ProviderError::StreamFailed("event too large".into()));
        }
        Ok(())
    }
}

/// Reads an event's data as JSON.
pub(crate) fn json<T: serde::de::DeserializeOwned>(data: &str) -> Result<T, ProviderError> {
    // serde's message may quote a value, so only the column is logged.
    serde_json::from_str(data)
        .map_err(|error| ProviderError::StreamFailed(format!("unexpected JSON, at column {}", error.column())))
}

//! Shared by both HTTP providers: the client, sending a request, and reading the response's body within its timeouts.

use crate::decode::{Awaited, Decoder};
use crate::error::{ErrorBody, Failure, retry_after};
use crate::reader::Reader;
use crate::{Chunk, Chunks, ProviderError};
use futures::{StreamExt, stream};
use reqwest::{Client, RequestBuilder, Response};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout, timeout_at};

/// Timeouts of a call to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Maximum time to connect.
    pub connect: Duration,
    /// Maximum time from sending the request to the first bytes of the response's body, connecting included.
    pub first_byte: Duration,
    /// Maximum silence within a response. Keep-alives interrupt it.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(5), first_byte: seconds(60), idle: seconds(90) }
    }
}

/// Time that a response of keep-alives is given for its first event, which may be an error. After that it is a response.
const FIRST_EVENT: Duration = Duration::from_secs(5);
/// Maximum size of an error body that is read, in bytes.
const ERROR_BYTES: usize = 64 << 10;
/// Maximum time to read an error body.
const ERROR_TIME: Duration = Duration::from_secs(5);

/// Why a call wasn't opened.
pub(crate) enum Rejection {
    /// The server responded with a failure status.
    Status(Failure),
    /// Anything else.
    Error(ProviderError),
}

impl From<ProviderError> for Rejection {
    fn from(error: ProviderError) -> Self {
        Self::Error(error)
    }
}

impl From<Rejection> for ProviderError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Status(failure) => failure.into_error(),
            Rejection::Error(error) => error,
        }
    }
}

/// Builds the HTTP client for all calls to a provider.
///
/// # Errors
/// Returns an error if TLS can't be set up.
pub(crate) fn client(connect_timeout: Duration) -> Result<Client, ProviderError> {
    Client::builder()
        .connect_timeout(connect_timeout)
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| ProviderError::Unreachable(error.without_url().to_string()))
}

/// Sends a request and returns its chunks once the first bytes of the response prove that it is one. `passes_events` adds each event.
pub(crate) async fn open(
    request: RequestBuilder,
    reader: Box<dyn Reader>,
    timeouts: Timeouts,
    passes_events: bool,
) -> Result<Chunks, Rejection> {
    let deadline = Instant::now() + timeouts.first_byte;
    let response = send(request, deadline).await?;
    let mut reading = Reading { response, decoder: Decoder::new(reader, passes_events), idle: timeouts.idle };
    reading.begin(deadline).await?;
    let chunks = stream::unfold(reading, async |mut reading| {
        let next = reading.next().await;
        next.map(|item| (item, reading))
    });
    Ok(chunks.boxed())
}

/// Sends a request and returns the head of a successful response.
async fn send(request: RequestBuilder, deadline: Instant) -> Result<Response, Rejection> {
    let sent = timeout_at(deadline, request.send()).await;
    let response = sent.map_err(|_| ProviderError::TimedOut)?.map_err(|error| match error.is_connect() {
        true => ProviderError::Unreachable(error.without_url().to_string()),
        // The request may have been sent.
        false => ProviderError::StreamFailed(error.without_url().to_string()),
    })?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let retry_after_ms = retry_after::read(response.headers(), OffsetDateTime::now_utc());
    Err(Rejection::Status(Failure { status, retry_after_ms, body: read_error(response).await }))
}

/// Reads the part of an error's body that arrives in time.
async fn read_error(mut response: Response) -> ErrorBody {
    let deadline = Instant::now() + ERROR_TIME;
    let mut body = Vec::new();
    while body.len() < ERROR_BYTES
        && let Ok(Ok(Some(bytes))) = timeout_at(deadline, response.chunk()).await
    {
        body.extend_from_slice(&bytes);
    }
    ErrorBody::from_text(&String::from_utf8_lossy(&body))
}

/// A response that is being read.
struct Reading {
    response: Response,
    decoder: Decoder,
    idle: Duration,
}

impl Reading {
    /// Reads until the body is known to be a response, or not.
    async fn begin(&mut self, first_byte: Instant) -> Result<(), ProviderError> {
        let mut first_event = None;
        loop {
            if let Some(opened) = self.decoder.opened() {
                return opened;
            }
            let awaited = self.decoder.awaited();
            let deadline = match awaited {
                Awaited::Bytes => first_byte,
                Awaited::Event => first_byte.min(*first_event.get_or_insert_with(|| Instant::now() + FIRST_EVENT)),
                Awaited::End => Instant::now() + self.idle,
            };
            match timeout_at(deadline, self.response.chunk()).await {
                Ok(read) => self.decode(read),
                // Keep-alives have proven that the server is working on the call.
                Err(_) if awaited == Awaited::Event => return Ok(()),
                Err(_) => return Err(ProviderError::TimedOut),
            }
        }
    }

    /// Returns the next chunk. Ends after the provider's `End`, after an error, or when the body ends.
    async fn next(&mut self) -> Option<Result<Chunk, ProviderError>> {
        loop {
            let next = self.decoder.pop();
            if next.is_some() || self.decoder.is_over() {
                return next;
            }
            match timeout(self.idle, self.response.chunk()).await {
                Ok(read) => self.decode(read),
                Err(_) => self.decoder.break_off("no data in time".into()),
            }
        }
    }

    fn decode(&mut self, read: reqwest::Result<Option<bytes::Bytes>>) {
        match read {
            Ok(Some(bytes)) => self.decoder.feed(&bytes),
            Ok(None) => self.decoder.end(),
            Err(error) => self.decoder.break_off(error.without_url().to_string()),
        }
    }
}

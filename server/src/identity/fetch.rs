//! Requests to identity providers: bounded in time and size, and without redirects, so that a token is sent nowhere else.

use anyhow::Context as _;
use http::{Request, Response, header};
use reqwest::redirect::Policy;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Maximum time of a request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Who the requests come from. The product's name may have letters that a header can't contain.
const USER_AGENT: &str = concat!("quotient/", env!("CARGO_PKG_VERSION"));
/// Maximum size of a response in bytes.
const MAX_BYTES: usize = 512 * 1024;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The provider can't be reached.
    #[error("can't be reached: {0}")]
    Unreachable(reqwest::Error),
    /// The request can't be built.
    #[error(transparent)]
    Request(#[from] http::Error),
    /// The response is larger than expected.
    #[error("the response is too large")]
    TooLarge,
    /// The response isn't a success.
    #[error("responded with {0}")]
    Status(http::StatusCode),
    /// The response can't be parsed.
    #[error("the response can't be parsed: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        // The URL is in the configuration, or may contain a secret.
        Self::Unreachable(error.without_url())
    }
}

/// The HTTP client.
#[derive(Clone, Debug)]
pub(super) struct Fetcher(reqwest::Client);

impl Fetcher {
    pub(super) fn new() -> anyhow::Result<Self> {
        // GitHub refuses requests without a User-Agent.
        let client = reqwest::Client::builder().redirect(Policy::none()).timeout(TIMEOUT).user_agent(USER_AGENT);
        Ok(Self(client.build().context("the HTTP client of identity providers")?))
    }

    /// Sends a request and reads the whole response, whatever its status.
    pub(super) async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, FetchError> {
        let mut received = self.0.execute(request.try_into()?).await?;
        let mut body = Vec::new();
        while let Some(bytes) = received.chunk().await? {
            if body.len() + bytes.len() > MAX_BYTES {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&bytes);
        }
        let mut response = Response::builder().status(received.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(received.headers());
        }
        Ok(response.body(body)?)
    }

    /// Gets JSON, with an access token if there is one.
    pub(super) async fn json<T: DeserializeOwned>(&self, url: &str, token: Option<&str>) -> Result<T, FetchError> {
        let mut request = Request::get(url).header(header::ACCEPT, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = self.send(request.body(Vec::new())?).await?;
        match response.status().is_success() {
            true => Ok(serde_json::from_slice(response.body())?),
            false => Err(FetchError::Status(response.status())),
        }
    }
}

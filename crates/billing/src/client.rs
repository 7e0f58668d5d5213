//! Sends requests to Stripe, with idempotency keys, timeouts and retries.

use rand::RngExt as _;
use std::time::Duration;
use stripe::{Client, ClientBuilder};
use stripe_client_core::{RequestStrategy, StripeRequest};

/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Tries of one request.
const TRIES: u32 = 3;

/// A client of one Stripe account; cheap to clone.
#[derive(Clone)]
pub struct Stripe {
    client: Client,
}

impl std::fmt::Debug for Stripe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stripe")
    }
}

/// Stripe refused, or can't be reached. Says nothing that a user wrote and no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StripeError {
    /// Stripe's answer is no; asking again would change nothing.
    #[error("Stripe refused: status {status}, {code}, parameter {param}")]
    Refused {
        /// HTTP.
        status: u16,
        /// Stripe's word for it.
        code: String,
        /// What is wrong with it, as far as Stripe says.
        param: String,
    },
    /// No answer, or one that says later.
    #[error("Stripe can't be reached: {0}")]
    Unreachable(String),
    /// The answer isn't what we know.
    #[error("Stripe's answer can't be read: {0}")]
    Unreadable(&'static str),
}

impl StripeError {
    /// Whether the object isn't there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
            || matches!(self, Self::Refused { code, .. } if code == "resource_missing")
    }
}

impl From<stripe::StripeError> for StripeError {
    fn from(error: stripe::StripeError) -> Self {
        match error {
            stripe::StripeError::Stripe(error, status) if status != 409 && status != 429 && status < 500 => {
                let code = error.code.as_ref().map_or_else(|| error.type_.to_string(), ToString::to_string);
                Self::Refused { status, code, param: error.param.clone().unwrap_or_else(|| "none".to_owned()) }
            }
            stripe::StripeError::Stripe(_, status) => Self::Unreachable(format!("status {status}")),
            // Also what a proxy in between says.
            stripe::StripeError::JSONDeserialize(_) => Self::Unreadable("not the JSON that was asked for"),
            stripe::StripeError::ClientError(error) => Self::Unreachable(error),
            stripe::StripeError::ConfigError(_) => Self::Unreadable("the client's configuration"),
            stripe::StripeError::Timeout => Self::Unreachable("timeout".to_owned()),
        }
    }
}

impl Stripe {
    /// A client for a key; `base_url` is elsewhere than Stripe for tests and development.
    ///
    /// # Errors
    /// Returns an error if the key or URL is not valid in a request.
    pub fn new(secret_key: &str, base_url: Option<&str>) -> Result<Self, StripeError> {
        let mut builder = ClientBuilder::new(secret_key).timeout(TIMEOUT);
        if let Some(url) = base_url {
            builder = builder.url(format!("{}/", url.trim_end_matches('/')));
        }
        Ok(Self { client: builder.build()? })
    }

    /// Reads, or deletes by id: what needs no key to be safe to repeat.
    pub(crate) async fn ask<T: miniserde::Deserialize>(
        &self,
        request: &(impl StripeRequest + Sync),
    ) -> Result<T, StripeError> {
        self.send(request, RequestStrategy::Once).await
    }

    /// Changes something. All tries of one call carry one key, so that a second try is the same deed. No key outlives its
    /// call: Stripe answers a repeated key as it did first, for a day, be it an error or an object that is gone by then.
    pub(crate) async fn post<T: miniserde::Deserialize>(
        &self,
        request: &(impl StripeRequest + Sync),
    ) -> Result<T, StripeError> {
        self.send(request, RequestStrategy::idempotent_with_uuid()).await
    }

    async fn send<T: miniserde::Deserialize>(
        &self,
        request: &(impl StripeRequest + Sync),
        strategy: RequestStrategy,
    ) -> Result<T, StripeError> {
        let mut tried = 1;
        loop {
            let sent = request.build().customize::<T>().request_strategy(strategy.clone()).send(&self.client).await;
            match sent.map_err(StripeError::from) {
                Err(StripeError::Unreachable(_)) if tried < TRIES => {
                    // 0.2 to 0.4 s, then twice that: together with the timeouts still a page that answers.
                    let wait_ms = rand::rng().random_range(200..400) * u64::from(tried);
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                    tried += 1;
                }
                answered => return answered,
            }
        }
    }
}

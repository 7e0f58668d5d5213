//! Sends requests to Stripe, with idempotency keys, timeouts and retries.

use rand::RngExt as _;
use std::time::Duration;
use stripe::{Client, ClientBuilder};
use stripe_client_core::{RequestStrategy, StripeRequest};

/// Timeout of one attempt.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Maximum number of attempts per request.
const MAX_ATTEMPTS: u32 = 3;

/// Client for one Stripe account; cheap to clone.
#[derive(Clone)]
pub struct Stripe {
    client: Client,
}

impl std::fmt::Debug for Stripe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stripe")
    }
}

/// A request to Stripe failed. The message contains no key and nothing that a user wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StripeError {
    /// Stripe rejected the request; a retry would fail the same way.
    #[error("Stripe refused: status {status}, {code}, parameter {param}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Stripe's error code, or the type of the error if it has none.
        code: String,
        /// The parameter that Stripe rejected, or `none`.
        param: String,
    },
    /// Stripe rejected the request because the customer has a subscription, an invoice item or a discount in another currency, and one
    /// customer can't combine currencies.
    #[error("Stripe refused: the customer has another currency")]
    OtherCurrency,
    /// No response, or one after which a request is retried (409, 429 or 5xx).
    #[error("Stripe can't be reached: {0}")]
    Unreachable(String),
    /// The response, or a value of ours, has an unexpected form.
    #[error("Stripe's response can't be parsed: {0}")]
    Unreadable(&'static str),
}

impl StripeError {
    /// Whether the object doesn't exist in Stripe.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
            || matches!(self, Self::Refused { code, .. } if code == "resource_missing")
    }
}

/// Returns whether a message of Stripe is about currencies that can't be combined. There is no code for it.
fn is_about_currencies(message: &str) -> bool {
    message.to_ascii_lowercase().contains("combine currencies")
}

impl From<stripe::StripeError> for StripeError {
    fn from(error: stripe::StripeError) -> Self {
        match error {
            stripe::StripeError::Stripe(error, _) if error.message.as_deref().is_some_and(is_about_currencies) => {
                Self::OtherCurrency
            }
            stripe::StripeError::Stripe(error, status) if status != 409 && status != 429 && status < 500 => {
                let code = error.code.as_ref().map_or_else(|| error.type_.to_string(), ToString::to_string);
                Self::Refused { status, code, param: error.param.clone().unwrap_or_else(|| "none".to_owned()) }
            }
            stripe::StripeError::Stripe(_, status) => Self::Unreachable(format!("status {status}")),
            // Responses of a proxy in between also end up here.
            stripe::StripeError::JSONDeserialize(_) => Self::Unreadable("unexpected JSON"),
            stripe::StripeError::ClientError(error) => Self::Unreachable(error),
            stripe::StripeError::ConfigError(_) => Self::Unreadable("the client's configuration"),
            stripe::StripeError::Timeout => Self::Unreachable("timeout".to_owned()),
        }
    }
}

impl Stripe {
    /// Creates a client for a secret key. `base_url` replaces Stripe's URL in tests and development.
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

    /// Sends a read, or a delete by id, which is safe to repeat without an idempotency key.
    pub(crate) async fn send<T: miniserde::Deserialize>(
        &self,
        request: &(impl StripeRequest + Sync),
    ) -> Result<T, StripeError> {
        self.send_with(request, RequestStrategy::Once).await
    }

    /// Sends a change. All attempts of one call share one idempotency key, so that a retry isn't applied twice. Each call has a new key:
    /// for a day, Stripe repeats its first response to a key, even if that was an error or the object was deleted since.
    pub(crate) async fn post<T: miniserde::Deserialize>(
        &self,
        request: &(impl StripeRequest + Sync),
    ) -> Result<T, StripeError> {
        self.send_with(request, RequestStrategy::idempotent_with_uuid()).await
    }

    async fn send_with<T: miniserde::Deserialize>(
        &self,
        request: &(impl StripeRequest + Sync),
        strategy: RequestStrategy,
    ) -> Result<T, StripeError> {
        let mut attempt = 1;
        loop {
            let sent = request.build().customize::<T>().request_strategy(strategy.clone()).send(&self.client).await;
            match sent.map_err(StripeError::from) {
                Err(StripeError::Unreachable(_)) if attempt < MAX_ATTEMPTS => {
                    // 0.2 to 0.4 s, then twice that: with the timeouts still short enough for a page that waits.
                    let wait_ms = rand::rng().random_range(200..400) * u64::from(attempt);
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }
}

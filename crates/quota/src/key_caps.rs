//! An API key with its caps.

use domain::{ApiKey, ApiKeyId, Picos, Tokens};

/// A cap that no call reaches: the largest number that the meters can hold.
const UNLIMITED: u64 = (1 << 53) - 1;

/// A key with its caps. Passed with each call, so that a changed cap applies to the next one and refills nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyCaps {
    /// The key, whose meter counts also where it has no cap.
    pub id: ApiKeyId,
    /// Maximum number of requests in any 60 seconds.
    pub requests_per_minute: Option<u64>,
    /// Maximum number of tokens in any 24 hours.
    pub tokens_per_day: Option<Tokens>,
    /// Maximum cost in any 30 days.
    pub monthly: Option<Picos>,
}

impl KeyCaps {
    /// Creates a key without caps, for settling its calls.
    #[must_use]
    pub fn without_caps(id: ApiKeyId) -> Self {
        Self { id, requests_per_minute: None, tokens_per_day: None, monthly: None }
    }

    /// Returns the limits of [`KEY_WINDOWS`](crate::KEY_WINDOWS), in their order.
    pub(crate) fn limits(&self) -> [u64; 3] {
        let requests = self.requests_per_minute.unwrap_or(UNLIMITED);
        let tokens = self.tokens_per_day.map_or(UNLIMITED, |tokens| tokens.0);
        // Rounded down, so that the cap is never exceeded.
        let spend = self.monthly.map_or(UNLIMITED, |cap| u64::try_from(cap.0).unwrap_or(0) / 1_000);
        [requests, tokens, spend].map(|limit| limit.min(UNLIMITED))
    }
}

impl From<&ApiKey> for KeyCaps {
    fn from(key: &ApiKey) -> Self {
        Self {
            id: key.id,
            requests_per_minute: key.requests_per_minute,
            tokens_per_day: key.tokens_per_day,
            monthly: key.monthly,
        }
    }
}

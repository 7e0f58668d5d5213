//! The remaining quota, as in `GET /api/quota` and in the events of a turn.

use serde::{Deserialize, Serialize};

/// A user's remaining quota. All `*_ms` are durations from the time of the response, `None` when nothing is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// The plan's id.
    pub plan: String,
    /// Requests in any 60 seconds.
    pub requests: Requests,
    /// Tokens in any 24 hours.
    pub tokens: TokensLeft,
    /// Turns running now.
    pub in_flight: InFlight,
}

/// Requests in the sliding minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// The plan's limit.
    pub limit: u64,
    /// Requests that can still be sent.
    pub remaining: u64,
    /// Time until all requests are available again.
    pub reset_ms: Option<u64>,
}

/// Tokens in the sliding day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensLeft {
    /// The plan's limit.
    pub limit: u64,
    /// Tokens used, without those reserved.
    pub used: u64,
    /// Tokens reserved for running turns.
    pub reserved: u64,
    /// Tokens that can still be used; never below 0.
    pub remaining: u64,
    /// Time until the oldest usage leaves the window.
    pub next_free_ms: Option<u64>,
}

/// Concurrent turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// The plan's limit.
    pub limit: u64,
    /// Turns running now.
    pub now: u64,
}

impl Quota {
    /// Whether to warn the user that little is left: fewer than 5 requests, or less than a fifth of the tokens.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.requests_low() || self.tokens_low()
    }

    /// Whether fewer than 5 requests are left, or fewer than the plan's limit if that is less than 5.
    #[must_use]
    pub fn requests_low(&self) -> bool {
        self.requests.remaining < 5.min(self.requests.limit)
    }

    /// Whether less than 20 % of the day's tokens are left.
    #[must_use]
    pub fn tokens_low(&self) -> bool {
        self.tokens.remaining.saturating_mul(5) < self.tokens.limit
    }
}

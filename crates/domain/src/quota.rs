//! The remaining quota, as in `GET /api/quota` and in the events of a turn.

use serde::{Deserialize, Serialize};

/// All `*_ms` are durations from the answer; null when nothing is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// The plan's key.
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
    /// The plan's number.
    pub limit: u64,
    /// What may still be sent.
    pub remaining: u64,
    /// Until all is free again.
    pub reset_ms: Option<u64>,
}

/// Tokens in the sliding day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensLeft {
    /// The plan's number.
    pub limit: u64,
    /// Spent, without what is reserved.
    pub used: u64,
    /// Held for turns that run.
    pub reserved: u64,
    /// What may still be spent; never below 0.
    pub remaining: u64,
    /// Until the next used unit returns.
    pub next_free_ms: Option<u64>,
}

/// Turns at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// The plan's number.
    pub limit: u64,
    /// Running now.
    pub now: u64,
}

impl Quota {
    /// Whether it is time to say that little is left: fewer than 5 requests, or less than a fifth of the tokens.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.requests_low() || self.tokens_low()
    }

    /// Fewer than 5 requests left (on plans that have more than that).
    #[must_use]
    pub fn requests_low(&self) -> bool {
        self.requests.remaining < 5.min(self.requests.limit)
    }

    /// Less than 20 % of the day's tokens left.
    #[must_use]
    pub fn tokens_low(&self) -> bool {
        self.tokens.remaining.saturating_mul(5) < self.tokens.limit
    }
}

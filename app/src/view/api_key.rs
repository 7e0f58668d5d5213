//! A user's API keys.

use domain::{ApiKey, ModelName, Picos, Tokens};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A user's keys, and what a new one needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysView {
    /// The time at which this was loaded.
    pub now: OffsetDateTime,
    /// The keys that aren't revoked, oldest first, each with its usage.
    pub keys: Vec<(ApiKey, KeyUse)>,
    /// Number of keys that the plan allows.
    pub allowed: u32,
    /// The plan's models, which a key can be limited to.
    pub models: Vec<ModelName>,
    /// Whether the user has proved who they are within the last ten minutes, which creating a key requires.
    pub is_recent: bool,
    /// Whether costs are shown.
    pub shows_cost: bool,
}

/// One key, and what it can be limited to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// The time at which this was loaded.
    pub now: OffsetDateTime,
    /// The key.
    pub key: ApiKey,
    /// The plan's models, and those that the key is limited to.
    pub models: Vec<ModelName>,
}

/// A key's usage of the last 30 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// Number of calls.
    pub requests: u64,
    /// Tokens.
    pub tokens: Tokens,
    /// Cost; zero if costs aren't shown.
    pub cost: Picos,
}

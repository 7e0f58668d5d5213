//! A user's usage.

use super::Refusal;
use domain::{ModelName, Picos, Quota, Tokens};
use leptos::prelude::*;
use serde::{Deserialize, Serialize};
use time::Date;

/// Some use, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// Turns.
    pub requests: u64,
    /// Input that came from no cache.
    pub input: Tokens,
    /// Input read from or written to caches.
    pub cached: Tokens,
    /// All output.
    pub output: Tokens,
    /// What it cost.
    pub cost: Picos,
}

impl Sum {
    /// All tokens, as plans count them.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        self.input + self.cached + self.output
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            input: self.input + other.input,
            cached: self.cached + other.cached,
            output: self.output + other.output,
            cost: self.cost.plus(other.cost),
        }
    }
}

/// A user's use over some days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageView {
    /// Every day of the period, as days begin where they are, the empty ones too.
    pub days: Vec<(Date, Sum)>,
    /// By model, the dearest first.
    pub models: Vec<(ModelName, Sum)>,
    /// Everything together.
    pub total: Sum,
    /// What is left now; none while the meters are away.
    pub quota: Option<Quota>,
    /// When what they used in the last day comes back, half an hour by half an hour.
    pub returns: Vec<(String, Tokens)>,
    /// Their last turns, the latest first.
    pub last: Vec<Turn>,
    /// Whether what it cost is shown.
    pub shows_cost: bool,
    /// Where they are.
    pub time_zone: String,
}

/// One turn, without its words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// When, where they are.
    pub at: String,
    /// Who answered.
    pub model: String,
    /// How it ended, or that it runs.
    pub status: String,
    /// All tokens.
    pub tokens: Tokens,
    /// What it cost.
    pub cost: Picos,
}

/// The viewer's own use of the last `days` days (7, 30 or 90).
#[server(prefix = "/fn", endpoint = "usage")]
pub async fn own(
    /// How far back, today included.
    days: u16,
) -> Result<UsageView, Refusal> {
    let viewer = super::context::viewer()?;
    super::context::usage_of(&super::context::sources().db, &viewer, days, viewer.plan.shows_cost).await
}

//! Plans and their limits.

use crate::{Amount, ModelName, Period, Tokens};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A plan's id: `free`, `pro`, `max`, or one that the owner adds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanId(pub String);

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for PlanId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

/// One row of the `plan` table, with the models it allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The plan's id.
    pub id: PlanId,
    /// The display name.
    pub name: String,
    /// Position on the pricing page; a larger plan has a larger number.
    pub sort: i32,
    /// Maximum number of requests in any 60 seconds.
    pub requests_per_minute: u64,
    /// Maximum number of tokens in any 24 hours.
    pub tokens_per_day: Tokens,
    /// Maximum number of concurrent turns.
    pub in_flight: u64,
    /// Maximum tokens of one response.
    pub max_output: Tokens,
    /// Maximum size of all attached files of a user, in bytes.
    pub storage_bytes: u64,
    /// Monthly price in cents.
    pub monthly_cents: i64,
    /// Yearly price in cents; zero if the plan isn't sold by the year.
    pub yearly_cents: i64,
    /// The currency code: three lower-case letters.
    pub currency: String,
    /// Days of the free trial, for users who have never had one.
    pub trial_days: u32,
    /// Stripe's id of the monthly price; `None` until `plans push`.
    pub monthly_price_id: Option<String>,
    /// Stripe's id of the yearly price; `None` until `plans push`.
    pub yearly_price_id: Option<String>,
    /// Whether its users see the cost of their usage.
    pub shows_cost: bool,
    /// One sentence for the pricing page.
    pub pitch: String,
    /// The allowed models, the default first.
    pub models: Vec<ModelName>,
}

impl Plan {
    /// Whether the plan allows a model.
    #[must_use]
    pub fn allows(&self, model: &ModelName) -> bool {
        self.models.contains(model)
    }

    /// Whether the plan is free.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.monthly_cents == 0 && self.yearly_cents == 0
    }

    /// Returns the price of a period; `None` if the plan isn't sold by that period.
    #[must_use]
    pub fn price(&self, period: Period) -> Option<Amount> {
        let minor = match period {
            Period::Month => self.monthly_cents,
            Period::Year => self.yearly_cents,
            Period::Other => 0,
        };
        (minor > 0).then(|| Amount { minor, currency: self.currency.clone() })
    }

    /// Returns Stripe's id of the price of a period; `None` until `plans push`.
    #[must_use]
    pub fn price_id(&self, period: Period) -> Option<&str> {
        match period {
            Period::Month => self.monthly_price_id.as_deref(),
            Period::Year => self.yearly_price_id.as_deref(),
            Period::Other => None,
        }
    }
}

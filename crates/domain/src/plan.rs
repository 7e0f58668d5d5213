//! Plans and their limits.

use crate::{Amount, ModelName, Period, Tokens};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A plan's key: `free`, `pro`, `max`, or what the owner adds.
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
    /// Its key.
    pub id: PlanId,
    /// What users call it.
    pub name: String,
    /// Its place on the pricing page; a larger plan has a larger number.
    pub sort: i32,
    /// Sliding, over any 60 seconds.
    pub requests_per_minute: u64,
    /// Sliding, over any 24 hours.
    pub tokens_per_day: Tokens,
    /// Turns that may run at once.
    pub in_flight: u64,
    /// The longest answer.
    pub max_output: Tokens,
    /// Monthly price in cents.
    pub monthly_cents: i64,
    /// Price of a year in cents; zero where it can't be paid by the year.
    pub yearly_cents: i64,
    /// Three lower-case letters.
    pub currency: String,
    /// Days that are free for somebody who has never tried.
    pub trial_days: u32,
    /// The monthly price's id at Stripe; none until `plans push`.
    pub monthly_price_id: Option<String>,
    /// The yearly price's id at Stripe.
    pub yearly_price_id: Option<String>,
    /// Whether users on it see what their use costs.
    pub shows_cost: bool,
    /// One sentence for the pricing page.
    pub pitch: String,
    /// The models it allows, the default first.
    pub models: Vec<ModelName>,
}

impl Plan {
    /// Whether the plan allows a model.
    #[must_use]
    pub fn allows(&self, model: &ModelName) -> bool {
        self.models.contains(model)
    }

    /// Whether it costs nothing.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.monthly_cents == 0 && self.yearly_cents == 0
    }

    /// What a period costs; none where it isn't sold by it.
    #[must_use]
    pub fn price(&self, period: Period) -> Option<Amount> {
        let minor = match period {
            Period::Month => self.monthly_cents,
            Period::Year => self.yearly_cents,
            Period::Other => 0,
        };
        (minor > 0).then(|| Amount { minor, currency: self.currency.clone() })
    }

    /// The price's id at Stripe; none until `plans push`.
    #[must_use]
    pub fn price_id(&self, period: Period) -> Option<&str> {
        match period {
            Period::Month => self.monthly_price_id.as_deref(),
            Period::Year => self.yearly_price_id.as_deref(),
            Period::Other => None,
        }
    }
}

//! What a person may use.

use crate::{ModelName, Tokens};
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
    /// What people call it.
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

    /// The price as the pricing page writes it: "$0", "$20", "$12.50".
    #[must_use]
    pub fn monthly_price(&self) -> String {
        match (self.monthly_cents / 100, self.monthly_cents % 100) {
            (dollars, 0) => format!("${dollars}"),
            (dollars, cents) => format!("${dollars}.{cents:02}"),
        }
    }
}

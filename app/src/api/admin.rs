//! What the owner sees. To anybody else these answer 404.

use super::Refusal;
use super::billing::{BillingView, Payments};
use super::usage::{Sum, UsageView};
use domain::{Amount, ModelName, Picos, Plan, PlanId, UserId, Viewer};
use leptos::prelude::*;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// How far back a table looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Period {
    /// 24 hours.
    #[default]
    Day,
    /// 7 days.
    Week,
    /// 30 days.
    Month,
}

impl Period {
    /// All of them, shortest first.
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    /// As the address says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    /// As people say it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Day => "24 hours",
            Self::Week => "7 days",
            Self::Month => "30 days",
        }
    }

    /// Its length.
    #[must_use]
    pub fn hours(self) -> i64 {
        match self {
            Self::Day => 24,
            Self::Week => 24 * 7,
            Self::Month => 24 * 30,
        }
    }

    /// Reads the address; anything unknown is a day.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|period| Some(period.as_str()) == text).unwrap_or_default()
    }
}

/// What a table is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Dollars.
    #[default]
    Cost,
    /// Tokens.
    Tokens,
    /// Turns.
    Requests,
}

impl Order {
    /// As the address says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Tokens => "tokens",
            Self::Requests => "requests",
        }
    }

    /// Reads the address; anything unknown is cost.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        [Self::Tokens, Self::Requests].into_iter().find(|order| Some(order.as_str()) == text).unwrap_or_default()
    }
}

/// A row of the heaviest users; the account may be gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heavy {
    /// The account.
    pub user_id: Option<UserId>,
    /// Its address.
    pub email: Option<String>,
    /// Its plan.
    pub plan: Option<PlanId>,
    /// What it used.
    pub sum: Sum,
}

/// The heaviest users of a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaviestView {
    /// The heaviest first; a hundred at most.
    pub rows: Vec<Heavy>,
    /// Everybody together.
    pub total: Sum,
    /// How many people used anything.
    pub people: u64,
}

/// One person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonView {
    /// Who.
    pub viewer: Viewer,
    /// Since when.
    pub created_at: OffsetDateTime,
    /// The plan an admin gave them, if any.
    pub granted: Option<PlanId>,
    /// What they pay.
    pub billing: BillingView,
    /// What they could be put on.
    pub plans: Vec<Plan>,
    /// Their last 30 days.
    pub usage: UsageView,
}

/// An event of Stripe's that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dead {
    /// Stripe's id.
    pub id: String,
    /// What happened.
    pub kind: String,
    /// Why it failed.
    pub error: String,
    /// How often it was tried.
    pub attempts: i32,
    /// When it was given up.
    pub at: OffsetDateTime,
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flag {
    /// What.
    pub kind: String,
    /// Stripe's id of it.
    pub object_id: String,
    /// Whom it is about.
    pub user_id: Option<UserId>,
    /// Their address.
    pub email: Option<String>,
    /// How much.
    pub amount: Option<Amount>,
    /// Since when.
    pub at: OffsetDateTime,
}

/// Something that differed from Stripe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// What it was.
    pub id: String,
    /// How it differed.
    pub what: String,
    /// What was done.
    pub mended: String,
}

/// How the house is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthView {
    /// Whether payments are connected.
    pub payments: Payments,
    /// Events that wait.
    pub waiting: i64,
    /// Since when the oldest does.
    pub oldest: Option<OffsetDateTime>,
    /// When the last one came.
    pub last_event: Option<OffsetDateTime>,
    /// Events that were given up.
    pub dead: Vec<Dead>,
    /// What to look at.
    pub flags: Vec<Flag>,
    /// Every vendor that this server asks, and for how many milliseconds it is left alone, if it is.
    pub vendors: Vec<(String, Option<u64>)>,
    /// Meters that differed from the ledger in the last day, and were rebuilt.
    pub drifts: i64,
    /// Jobs that wait.
    pub jobs_waiting: i64,
    /// Jobs that were given up.
    pub jobs_dead: i64,
    /// Why the last of them was.
    pub job_error: Option<String>,
    /// The last comparison with Stripe: when, how many, what differed.
    pub compared: Option<(OffsetDateTime, i64, Vec<Drift>)>,
}

/// How the house is.
#[server(prefix = "/fn", endpoint = "admin_health")]
pub async fn health() -> Result<HealthView, Refusal> {
    super::context::admin()?;
    super::context::health().await
}

/// The heaviest users of a period.
#[server(prefix = "/fn", endpoint = "admin_heaviest")]
pub async fn heaviest(
    /// How far back.
    period: Period,
    /// What it is sorted by.
    order: Order,
) -> Result<HeaviestView, Refusal> {
    super::context::admin()?;
    super::context::heaviest(period, order).await
}

/// One person.
#[server(prefix = "/fn", endpoint = "admin_person")]
pub async fn person(
    /// Who.
    id: UserId,
) -> Result<PersonView, Refusal> {
    super::context::admin()?;
    super::context::person(id).await
}

/// A model as its owner sees it; prices in dollars per million tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRow {
    /// The vendor's name for it.
    pub name: ModelName,
    /// The name people read.
    pub label: String,
    /// Whose wire format.
    pub vendor: String,
    /// Whether its vendor has a key.
    pub is_connected: bool,
    /// Whether it is switched on.
    pub is_on: bool,
    /// Input, cached input and output; none is not for sale.
    pub price: Option<(String, Option<String>, String)>,
    /// What comes next: input, output, and from when on.
    pub next_price: Option<(String, String, OffsetDateTime)>,
    /// The plans that allow it.
    pub plans: Vec<String>,
    /// Who answers where it can't be reached.
    pub fallback: Option<ModelName>,
    /// What it may cost in any day.
    pub daily_spend: Option<Picos>,
    /// What it cost in the last 24 hours.
    pub spent: Picos,
}

/// What the owner allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelsView {
    /// Whether nobody is answered.
    pub is_paused: bool,
    /// What the house may spend in any day, as set here.
    pub daily_spend: Option<Picos>,
    /// What the environment sets besides; the smaller holds.
    pub env_spend: Option<Picos>,
    /// What the house spent in the last 24 hours.
    pub spent: Picos,
    /// Every model.
    pub models: Vec<ModelRow>,
}

/// Models, their prices and their switches.
#[server(prefix = "/fn", endpoint = "admin_models")]
pub async fn models() -> Result<ModelsView, Refusal> {
    super::context::admin()?;
    super::context::models().await
}

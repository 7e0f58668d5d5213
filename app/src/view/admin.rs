//! Data of the owner's pages.

use super::billing::{BillingView, Payments};
use super::usage::{Sum, UsageView};
use domain::{Amount, AuditEntry, ModelName, Picos, Plan, PlanId, Tokens, UserId, Viewer};
use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};

/// A row of the top users; the account may be gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserUsage {
    /// The account.
    pub user_id: Option<UserId>,
    /// The user's email.
    pub email: Option<String>,
    /// Its plan.
    pub plan: Option<PlanId>,
    /// What it used.
    pub sum: Sum,
    /// Its input as it was estimated beforehand.
    pub estimated: Tokens,
    /// How often it was refused.
    pub refusals: u64,
    /// What its subscriptions pay for the period, prorated.
    pub paid: Picos,
    /// What it cost on each day of the view's line.
    pub line: Vec<Picos>,
}

/// What one model did in a period, or all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUse {
    /// Calls, also those that stood in for another's or came to nothing.
    pub calls: u64,
    /// Calls that its provider didn't answer, or not to the end.
    pub failed: u64,
    /// What it cost.
    pub cost: Picos,
    /// The part of its output that was reasoning.
    pub reasoning: Tokens,
    /// Half of all calls had their time to first token after so many milliseconds, and 95 of a hundred; to two digits.
    pub ttft_ms: Option<(i32, i32)>,
}

/// What runs and is spent at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Turns that run.
    pub running: u64,
    /// Tokens held for them.
    pub reserved: Tokens,
    /// What was spent in the whole hours of the last 24.
    pub spent: Picos,
    /// What may be spent in any 24.
    pub cap: Option<Picos>,
}

/// Cost by model on each day of a period.
pub type DailyCost = Vec<(Date, Vec<(ModelName, Picos)>)>;

/// The top users of a period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUsersView {
    /// When the figures were computed; `None` before the first refresh.
    pub as_of: Option<OffsetDateTime>,
    /// The top_users first; a page of them.
    pub rows: Vec<UserUsage>,
    /// Everybody in the table together, on all its pages.
    pub total: Sum,
    /// How many users used something.
    pub users: u64,
    /// How many rows the table has, on all its pages.
    pub count: u64,
    /// What everybody cost in the hours of the period that are over, and in as many before it; none where no hour is over.
    pub change: Option<(Picos, Picos)>,
    /// What each model cost on each day of the period, every day there.
    pub days: DailyCost,
    /// The first and the last day of everybody's line.
    pub line: Option<(Date, Date)>,
    /// What each model did, the dearest first.
    pub by_model: Vec<(ModelName, ModelUse)>,
    /// What they did together.
    pub all_models: ModelUse,
    /// Since when single calls are kept, where older ones were dropped.
    pub kept_from: Option<OffsetDateTime>,
    /// What subscriptions in dollars pay for the period.
    pub revenue: Picos,
    /// How many live subscriptions are in other currencies, and left out.
    pub other_currencies: u64,
    /// Refusals by reason, the most frequent first.
    pub refusals: Vec<(String, u64)>,
    /// What runs and is spent at this moment.
    pub now: Moment,
    /// What can be filtered by.
    pub plans: Vec<PlanId>,
    /// What can be filtered by.
    pub models: Vec<ModelName>,
}

/// A user's own limits, while they last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnLimits {
    /// Requests a minute; none is the plan's.
    pub requests: Option<i64>,
    /// Tokens a day; none is the plan's.
    pub tokens: Option<i64>,
    /// Until then.
    pub until: OffsetDateTime,
}

/// What is held for a call that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Who is asked.
    pub model: ModelName,
    /// Since when.
    pub since: OffsetDateTime,
    /// How much.
    pub reserved: Tokens,
    /// Whether its server has given a sign of life lately.
    pub is_alive: bool,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserView {
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
    /// Limits of their own.
    pub limits: Option<OwnLimits>,
    /// Since when they may only read.
    pub paused_at: Option<OffsetDateTime>,
    /// When each live session of theirs ends, the last first.
    pub sessions: Vec<OffsetDateTime>,
    /// What is held for calls of theirs that run.
    pub holds: Vec<Hold>,
    /// What was done to them, the latest first.
    pub audit: Vec<AuditEntry>,
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

/// How the deployment is.
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
    /// Every provider that this server asks, and for how many milliseconds its circuit is open, if it is.
    pub providers: Vec<(String, Option<u64>)>,
    /// Alerts, open ones first: text, since when, until when.
    pub alerts: Vec<(String, OffsetDateTime, Option<OffsetDateTime>)>,
    /// Meters that differed from the ledger in the last day, and were rebuilt.
    pub drifts: i64,
    /// Jobs that wait.
    pub jobs_waiting: i64,
    /// Jobs that were given up.
    pub jobs_dead: i64,
    /// Why the last of them was.
    pub job_error: Option<String>,
    /// This server's version.
    pub version: String,
    /// The last migration that this server knows, and the last that the database has had.
    pub schema: (i64, i64),
    /// When the usage report was last refreshed, and how many calls are newer.
    pub report: (Option<OffsetDateTime>, u64),
    /// The last comparison with Stripe: when, how many, what differed.
    pub compared: Option<(OffsetDateTime, i64, Vec<Drift>)>,
}

/// One account in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSummary {
    /// The account.
    pub user_id: UserId,
    /// The user's email.
    pub email: String,
    /// Its plan.
    pub plan: PlanId,
    /// Whether it sees these pages.
    pub is_admin: bool,
    /// Whether it may only read.
    pub is_paused: bool,
    /// Since when it is there.
    pub created_at: OffsetDateTime,
}

/// Users on a page of accounts.
pub const USER_ROWS: u32 = 50;
/// Rows on a page of the audit.
pub const AUDIT_ROWS: u32 = 100;

/// Prices in dollars per million tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceRow {
    /// Input.
    pub input: String,
    /// Input read from a cache; none is the input's.
    pub cache_read: Option<String>,
    /// Input written to a cache; none is the input's.
    pub cache_write: Option<String>,
    /// Output.
    pub output: String,
}

/// A model as its owner sees it; prices in dollars per million tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRow {
    /// The provider's name for it.
    pub name: ModelName,
    /// The name users read.
    pub label: String,
    /// Whose wire format.
    pub provider: String,
    /// Whether its provider has a key.
    pub is_connected: bool,
    /// Whether it is switched on.
    pub is_on: bool,
    /// The base tier's; none is not for sale.
    pub price: Option<PriceRow>,
    /// What comes next: input, output, and from when on.
    pub next_price: Option<(String, String, OffsetDateTime)>,
    /// The plans that allow it.
    pub plans: Vec<String>,
    /// Who answers where it can't be reached.
    pub fallback: Option<ModelName>,
    /// After how many seconds of silence the fallback is asked as well; none never.
    pub hedge_after_s: Option<u32>,
    /// What it may cost in any day.
    pub daily_spend: Option<Picos>,
    /// What it cost in the last 24 hours.
    pub spent: Picos,
}

/// What the owner allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelsView {
    /// Whether Chat is switched off.
    pub is_paused: bool,
    /// What the deployment may spend in any day, as set here.
    pub daily_spend: Option<Picos>,
    /// What the environment sets besides; the smaller holds.
    pub env_spend: Option<Picos>,
    /// What the deployment spent in the last 24 hours.
    pub spent: Picos,
    /// Every model.
    pub models: Vec<ModelRow>,
}

//! Data of the owner's pages.

use super::billing::{BillingView, Payments};
use super::usage::UsageView;
use crate::view::api_key::KeyUse;
use domain::{
    AccountSummary, ApiKey, AuditEntry, BillingFlag, DeadLetter, HeldCall, Model, ModelName, Picos, Plan, PlanId,
    Tokens, UsageSum, UserId, UserUsage, Viewer,
};
use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};

/// Usage of one model, or of all models, in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUse {
    /// Number of calls, including fallback calls and failed ones.
    pub calls: u64,
    /// Calls that the provider did not answer, or not to the end.
    pub failed: u64,
    /// Cost.
    pub cost: Picos,
    /// Tokens written to caches, which are part of the cached input.
    pub cache_write: Tokens,
    /// The part of `cache_write` with the longer lifetime.
    pub cache_write_long: Tokens,
    /// Reasoning tokens, which are part of the output.
    pub reasoning: Tokens,
    /// Median and 95th percentile of the time to first token, in milliseconds to two significant digits. `None` without measurements.
    pub ttft_ms: Option<(i32, i32)>,
}

/// Running turns and spending of the whole deployment at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Number of running turns.
    pub running: u64,
    /// Tokens reserved for running turns.
    pub reserved: Tokens,
    /// Cost of the whole hours of the last 24 hours.
    pub spent: Picos,
    /// Spend cap for any 24 hours, if one is set.
    pub cap: Option<Picos>,
}

/// Warnings about models and providers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warnings {
    /// Display names of the enabled models that end within thirty days, with the day on which their provider switches them off.
    pub ending: Vec<(String, Date)>,
    /// Open alerts about providers that have no credit left or reject the API key.
    pub accounts: Vec<String>,
}

/// Cost, tokens and requests of all users in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFigures {
    /// Cost.
    pub cost: Picos,
    /// All tokens.
    pub tokens: Tokens,
    /// Number of requests.
    pub requests: u64,
}

/// Usage of all users in one hour or UTC day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageInterval {
    /// Its start.
    pub at: OffsetDateTime,
    /// Cost by model.
    pub cost: Vec<(ModelName, Picos)>,
    /// All tokens.
    pub tokens: Tokens,
    /// Number of requests.
    pub requests: u64,
}

/// The top users of a period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUsersView {
    /// When the figures were computed; `None` before the first refresh.
    pub as_of: Option<OffsetDateTime>,
    /// One page of rows, in the order of the filter.
    pub rows: Vec<UserUsage>,
    /// Number of that page, starting at 1; at most that of the last page.
    pub page: u32,
    /// Usage of all rows on all pages.
    pub total: UsageSum,
    /// Number of users with usage.
    pub users: u64,
    /// Number of rows on all pages, including users who were only refused.
    pub count: u64,
    /// Figures of all users in the whole hours of the period, and in as many hours before it. `None` while the period has no whole hour.
    pub change: Option<(KeyFigures, KeyFigures)>,
    /// Usage over time in the period, including hours or days without usage.
    pub intervals: Vec<UsageInterval>,
    /// Whether the intervals are hours instead of days.
    pub is_hourly: bool,
    /// First and last day of the users' sparklines, both included.
    pub line: Option<(Date, Date)>,
    /// Usage by model, the most expensive first.
    pub by_model: Vec<(ModelName, ModelUse)>,
    /// Usage of all models.
    pub all_models: ModelUse,
    /// Start of the kept ledger rows, if the period includes dropped ones.
    pub kept_from: Option<OffsetDateTime>,
    /// What subscriptions in US dollars pay for the period, prorated.
    pub revenue: Picos,
    /// Number of live subscriptions in other currencies, which the revenue leaves out.
    pub other_currencies: u64,
    /// What prompt caching saved in the period; negative while less was read from caches than written to them.
    pub cache_savings: Picos,
    /// Warnings for the owner: models in use that end soon, and providers that reject every call.
    pub warnings: Warnings,
    /// Refusals by reason, the most frequent first.
    pub refusals: Vec<(String, u64)>,
    /// Running turns and spending now.
    pub now: Moment,
    /// Plans to filter by.
    pub plans: Vec<PlanId>,
    /// Models to filter by.
    pub models: Vec<ModelName>,
}

/// A temporary limit override of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnLimits {
    /// Requests per minute; `None` uses the plan's.
    pub requests: Option<i64>,
    /// Tokens per day; `None` uses the plan's.
    pub tokens: Option<i64>,
    /// When the override ends.
    pub until: OffsetDateTime,
}

/// The data of a user's admin page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserView {
    /// The time at which this was loaded.
    pub now: OffsetDateTime,
    /// API keys that aren't revoked, each with its usage of the last 30 days.
    pub keys: Vec<(ApiKey, KeyUse)>,
    /// The user.
    pub viewer: Viewer,
    /// When the account was created.
    pub created_at: OffsetDateTime,
    /// The plan granted by an admin, if any.
    pub granted: Option<PlanId>,
    /// The user's subscription and invoices.
    pub billing: BillingView,
    /// Plans that an admin can grant.
    pub plans: Vec<Plan>,
    /// Usage of the last 30 days.
    pub usage: UsageView,
    /// The temporary limit override, if any.
    pub limits: Option<OwnLimits>,
    /// When the account was paused; a paused account is read-only.
    pub paused_at: Option<OffsetDateTime>,
    /// Expiry of each live session, latest first.
    pub sessions: Vec<OffsetDateTime>,
    /// Reservations of running calls.
    pub holds: Vec<HeldCall>,
    /// Admin actions on this user, newest first.
    pub audit: Vec<AuditEntry>,
}

/// A difference from Stripe found by reconciliation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Id of the object that differed.
    pub id: String,
    /// Description of the difference.
    pub what: String,
    /// Description of the repair.
    pub repair: String,
}

/// Health of the deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthView {
    /// The configured payment provider.
    pub payments: Payments,
    /// Number of Stripe events waiting to be processed.
    pub waiting: i64,
    /// When the oldest waiting event was received.
    pub oldest: Option<OffsetDateTime>,
    /// When the last event was received.
    pub last_event: Option<OffsetDateTime>,
    /// Dead letters.
    pub dead_letters: Vec<DeadLetter>,
    /// Open billing flags.
    pub flags: Vec<BillingFlag>,
    /// Configured providers, each with the milliseconds until its open circuit allows a retry, or `None` if it is closed.
    pub providers: Vec<(String, Option<u64>)>,
    /// The latest request whose forwarded address this server ignored, if any.
    pub ignored_forward: Option<IgnoredForward>,
    /// Alerts, open ones first: message, start and end.
    pub alerts: Vec<(String, OffsetDateTime, Option<OffsetDateTime>)>,
    /// Number of meters that differed from the ledger in the last 24 hours and were rebuilt.
    pub drifts: i64,
    /// Number of queued jobs.
    pub jobs_waiting: i64,
    /// Number of dead letters among the jobs that can be retried.
    pub jobs_dead: i64,
    /// Number of dead letters among the jobs whose content was erased.
    pub jobs_erased: i64,
    /// Error of the most recent dead letter.
    pub job_error: Option<String>,
    /// This server's version.
    pub version: String,
    /// Latest migration known to this server, and latest migration applied to the database.
    pub schema: (i64, i64),
    /// When the usage report was last refreshed, and the number of calls that it doesn't include yet.
    pub report: (Option<OffsetDateTime>, u64),
    /// The last Stripe reconciliation: start, number of objects checked, and differences.
    pub compared: Option<(OffsetDateTime, i64, Vec<Drift>)>,
}

/// A request whose `X-Forwarded-For` was ignored, because its peer isn't a trusted proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IgnoredForward {
    /// The peer's IP address.
    pub peer: String,
    /// When it was received.
    pub at: OffsetDateTime,
    /// Number of such requests since the server started.
    pub requests: u64,
}

/// A page of the account list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountList {
    /// Accounts, newest first.
    pub rows: Vec<AccountSummary>,
    /// Number of accounts on all pages.
    pub all: u64,
    /// Number of the page, starting at 1; at most that of the last page.
    pub page: u32,
}

/// A page of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditList {
    /// Entries, newest first.
    pub rows: Vec<AuditEntry>,
    /// Whether there are older entries.
    pub has_more: bool,
}

/// A plan with what the owner compares with its price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRow {
    /// The plan.
    pub plan: Plan,
    /// Maximum number of API keys.
    pub api_keys: u32,
    /// What a user costs at most in 30 days, and the model with which: all tokens of each day at the model's highest price. `None` if none of
    /// its models is enabled.
    pub max_cost: Option<(Picos, ModelName)>,
}

/// Number of users on a page of the account list.
pub const USER_ROWS: u32 = 50;
/// Number of rows on a page of the audit log.
pub const AUDIT_ROWS: u32 = 100;

/// Prices in dollars per million tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceRow {
    /// Input.
    pub input: String,
    /// Input read from a cache; `None` uses the input price.
    pub cache_read: Option<String>,
    /// Input written to a cache; `None` uses the input price.
    pub cache_write: Option<String>,
    /// Input written to a cache with the longer lifetime; `None` uses the price of `cache_write`.
    pub cache_write_long: Option<String>,
    /// Output.
    pub output: String,
}

/// A model and its settings, for the owner. Prices are in dollars per million tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRow {
    /// The model.
    pub model: Model,
    /// Whether the model is available: its provider has an API key, or it is the demo model and no provider has one.
    pub is_connected: bool,
    /// Whether it is enabled.
    pub is_on: bool,
    /// Price of the base tier. A model without a price can't be called.
    pub price: Option<PriceRow>,
    /// The next price, if one is scheduled: input, output, and when it takes effect.
    pub next_price: Option<(String, String, OffsetDateTime)>,
    /// Plans that allow it.
    pub plans: Vec<String>,
    /// Spend cap for any 24 hours.
    pub daily_spend: Option<Picos>,
    /// Cost in the last 24 hours.
    pub spent: Picos,
    /// Number of its responses that users rated.
    pub rated: u64,
    /// Number of those that were rated as good.
    pub good: u64,
}

/// A user's comment on a response, for the owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentRow {
    /// The model that responded.
    pub model: ModelName,
    /// Whether the response was rated as good.
    pub is_good: bool,
    /// What the user wrote.
    pub text: String,
    /// The user.
    pub user_id: UserId,
    /// The user's email address.
    pub email: String,
    /// When the response was rated.
    pub created_at: OffsetDateTime,
}

/// The models page: every model and the global limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelsView {
    /// Whether chat is paused.
    pub is_paused: bool,
    /// Global spend cap for any 24 hours, as set on this page.
    pub daily_spend: Option<Picos>,
    /// Global spend cap set in the environment. The smaller of the two applies.
    pub env_spend: Option<Picos>,
    /// Cost of the deployment in the last 24 hours.
    pub spent: Picos,
    /// All models, including disabled ones.
    pub models: Vec<ModelRow>,
    /// The latest comments on each model, by model, newest first.
    pub comments: Vec<CommentRow>,
    /// The current day in UTC.
    pub today: Date,
}

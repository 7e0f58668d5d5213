//! What the owner sees. To anybody else these answer 404.

use super::Refusal;
use super::billing::{BillingView, Payments};
use super::usage::{Sum, UsageView};
use domain::{Amount, ModelName, Picos, Plan, PlanId, Tokens, UserId, Viewer};
use leptos::prelude::*;
use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime, Time};

/// How far back a table looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Period {
    /// 24 hours.
    #[default]
    Day,
    /// 7 days.
    Week,
    /// 30 days.
    Days30,
    /// From the first of this month on, UTC.
    Month,
    /// From one day to another, both included, UTC.
    Custom(Date, Date),
}

impl Period {
    /// Those that need no dates, shortest first.
    pub const ALL: [Self; 4] = [Self::Day, Self::Week, Self::Days30, Self::Month];

    /// As the address says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Days30 => "30d",
            Self::Month => "month",
            Self::Custom(..) => "custom",
        }
    }

    /// As people say it.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Day => "24 hours".to_owned(),
            Self::Week => "7 days".to_owned(),
            Self::Days30 => "30 days".to_owned(),
            Self::Month => "this month".to_owned(),
            Self::Custom(from, to) if from == to => from.to_string(),
            Self::Custom(from, to) => format!("{from} to {to}"),
        }
    }

    /// Its first hour and its end, which isn't included. The hour that runs is part of it.
    #[must_use]
    pub fn span(self, now: OffsetDateTime) -> (OffsetDateTime, OffsetDateTime) {
        let midnight = |day: Date| day.midnight().assume_utc();
        let hour = now.replace_time(Time::from_hms(now.hour(), 0, 0).unwrap_or(Time::MIDNIGHT));
        let next = hour + time::Duration::HOUR;
        match self {
            Self::Day => (hour - time::Duration::hours(24), next),
            Self::Week => (hour - time::Duration::days(7), next),
            Self::Days30 => (hour - time::Duration::days(30), next),
            Self::Month => (midnight(now.date().replace_day(1).unwrap_or(now.date())), next),
            // What is to come costs nothing yet, and nobody has paid for it.
            Self::Custom(from, to) => (midnight(from).min(next), midnight(to.next_day().unwrap_or(to)).min(next)),
        }
    }

    /// Reads the address. Anything unknown is a day.
    ///
    /// # Errors
    /// A sentence, where the dates of a custom period aren't two days in their order within ten years.
    pub fn parse(name: Option<&str>, from: Option<&str>, to: Option<&str>) -> Result<Self, &'static str> {
        if name == Some("custom") {
            let format = time::macros::format_description!("[year]-[month]-[day]");
            let day = |text: Option<&str>| text.and_then(|text| Date::parse(text, format).ok());
            let (Some(from), Some(to)) = (day(from), day(to)) else {
                return Err("A period of your own has two days, like 2026-01-31.");
            };
            let years = 2000..=9000;
            if from > to || to - from > time::Duration::days(3660) || !years.contains(&from.year()) {
                return Err("The first day comes before the last, and at most ten years lie between them.");
            }
            return Ok(Self::Custom(from, to));
        }
        Ok(Self::ALL.into_iter().find(|period| Some(period.as_str()) == name).unwrap_or_default())
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
    /// What they pay less what they cost, the least first.
    Margin,
    /// Refusals.
    Refusals,
    /// How far estimates of their input were off.
    Estimate,
}

impl Order {
    const ALL: [Self; 6] = [Self::Cost, Self::Tokens, Self::Requests, Self::Margin, Self::Refusals, Self::Estimate];

    /// As the address says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Tokens => "tokens",
            Self::Requests => "requests",
            Self::Margin => "margin",
            Self::Refusals => "refusals",
            Self::Estimate => "estimate",
        }
    }

    /// Reads the address; anything unknown is cost.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|order| Some(order.as_str()) == text).unwrap_or_default()
    }
}

/// Which part of the heaviest users is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// How far back.
    pub period: Period,
    /// What it is sorted by.
    pub order: Order,
    /// Only people on this plan now.
    pub plan: Option<PlanId>,
    /// Only use of this model.
    pub model: Option<ModelName>,
    /// Only addresses that hold this; empty for all.
    pub search: String,
    /// Which page, from one.
    pub page: u32,
}

impl Asked {
    /// People on a page.
    pub const ROWS: u32 = 50;

    /// The address of this part of the table, or of its export.
    #[must_use]
    pub fn href(&self, path: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("period", self.period.as_str());
        if let Period::Custom(from, to) = self.period {
            query.append_pair("from", &from.to_string()).append_pair("to", &to.to_string());
        }
        query.append_pair("by", self.order.as_str());
        for (name, value) in [
            ("plan", self.plan.as_ref().map(|plan| plan.0.as_str())),
            ("model", self.model.as_ref().map(|model| model.0.as_str())),
            ("q", Some(self.search.as_str())),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                query.append_pair(name, value);
            }
        }
        if self.page > 1 {
            query.append_pair("page", &self.page.to_string());
        }
        format!("{path}?{}", query.finish())
    }

    /// Reads an address's query.
    ///
    /// # Errors
    /// A sentence, where its dates can't be a period.
    pub fn parse(query: impl Fn(&str) -> Option<String>) -> Result<Self, &'static str> {
        // No name or address holds a control character, and Postgres takes no NUL.
        let plain = |value: String| value.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned();
        let of = |name: &str| query(name).map(plain).filter(|value| !value.is_empty());
        Ok(Self {
            period: Period::parse(of("period").as_deref(), of("from").as_deref(), of("to").as_deref())?,
            order: Order::parse(of("by").as_deref()),
            plan: of("plan").map(PlanId),
            model: of("model").map(ModelName),
            search: of("q").unwrap_or_default().chars().take(200).collect(),
            page: of("page").and_then(|page| page.parse().ok()).unwrap_or(1).clamp(1, 100_000),
        })
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
    /// Its input as it was estimated beforehand.
    pub estimated: Tokens,
    /// How often it was refused.
    pub refusals: u64,
    /// What its subscription pays for the period.
    pub pays: Picos,
}

/// The heaviest users of a period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaviestView {
    /// The heaviest first; a page of them.
    pub rows: Vec<Heavy>,
    /// Everybody in the table together, on all its pages.
    pub total: Sum,
    /// How many people are in the table.
    pub people: u64,
    /// What each model cost on each day of the period, every day there.
    pub days: Vec<(Date, Vec<(ModelName, Picos)>)>,
    /// What subscriptions pay for the period.
    pub revenue: Picos,
    /// Refusals by reason, the most frequent first.
    pub refusals: Vec<(String, u64)>,
    /// Turns that run now.
    pub running: u64,
    /// Tokens held for them.
    pub reserved: Tokens,
    /// What was spent in the last 24 hours, and what may be.
    pub today: (Picos, Option<Picos>),
    /// What can be filtered by.
    pub plans: Vec<PlanId>,
    /// What can be filtered by.
    pub models: Vec<ModelName>,
}

/// Something an admin did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// When.
    pub at: OffsetDateTime,
    /// Who.
    pub actor: Option<String>,
    /// To whom.
    pub subject: Option<String>,
    /// Their account.
    pub subject_id: Option<UserId>,
    /// What.
    pub action: String,
    /// The value before.
    pub before: Option<String>,
    /// The value after.
    pub after: Option<String>,
    /// Why.
    pub why: Option<String>,
}

/// A person's own limits, while they last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnLimits {
    /// Requests a minute; none is the plan's.
    pub requests: Option<i64>,
    /// Tokens a day; none is the plan's.
    pub tokens: Option<i64>,
    /// Until then.
    pub until: OffsetDateTime,
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
    /// Limits of their own.
    pub limits: Option<OwnLimits>,
    /// Since when they may only read.
    pub paused_at: Option<OffsetDateTime>,
    /// How many sessions of theirs live.
    pub sessions: i64,
    /// What was done to them, the latest first.
    pub audit: Vec<Written>,
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
    /// What admins were told of: what stands, then what ended last. In words, since when, until when.
    pub alerts: Vec<(String, OffsetDateTime, Option<OffsetDateTime>)>,
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
    /// Which part of them.
    asked: Asked,
) -> Result<HeaviestView, Refusal> {
    super::context::admin()?;
    super::context::heaviest(asked).await
}

/// One account in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The account.
    pub user_id: UserId,
    /// Its address.
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

/// Accounts, the newest first; a page of fifty, and how many there are on all pages.
#[server(prefix = "/fn", endpoint = "admin_people")]
pub async fn people(
    /// Only addresses that hold this; empty for all.
    search: String,
    /// Which page, from one.
    page: u32,
) -> Result<(Vec<Listed>, u64), Refusal> {
    super::context::admin()?;
    super::context::people(&search, page).await
}

/// Plans, and every model that one could allow.
#[server(prefix = "/fn", endpoint = "admin_plans")]
pub async fn plans() -> Result<(Vec<Plan>, Vec<ModelName>), Refusal> {
    super::context::admin()?;
    super::context::plans().await
}

/// What admins did, the latest first; a page of a hundred.
#[server(prefix = "/fn", endpoint = "admin_audit")]
pub async fn audit(
    /// Which page, from one.
    page: u32,
) -> Result<Vec<Written>, Refusal> {
    super::context::admin()?;
    super::context::audit(page).await
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

//! Forms of the admin pages: each is parsed here and carried out by `admin::actions`. Actions on a user are in `admin_user.rs`.

use crate::AppState;
use crate::admin::actions::{self, CallSettings, GlobalChange, ModelChange};
use crate::failure::Failure;
use crate::http::admin_form::{
    AdminForm, TIMEOUT_MESSAGE, answer, answer_keeping, in_row, limit, optional, timeout_ms,
};
use crate::http::extract::{Id, SignedIn};
use axum::extract::{Request, State};
use axum::response::Response;
use domain::chat_settings::MAX_EFFORT;
use domain::{MicrosPerMillion, ModelName, OutputLimit, Picos, PlanId, Problem, Thinking, Tokens};
use serde::Deserialize;
use store::model_rule::{NewPrice, Tier};
use store::plan_rule::Rules;
use time::{Date, OffsetDateTime};

/// What to enter as the number of API keys of a plan.
const API_KEYS: &str = "Enter 0 to 1000 API keys. No changes were saved.";

/// The fields of a plan's row.
const PLAN_FIELDS: [&str; 9] =
    ["requests", "tokens", "in_flight", "max_output", "storage_mb", "api_keys", "model", "first", "shows_cost"];

/// Parses the rules of a plan. Selected models are repeated fields with the same name, so the pairs are parsed by hand.
fn plan_rules(pairs: &[(String, String)]) -> Result<Rules, Problem> {
    let of = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim());
    let number = |name: &str| limit(name, of(name).unwrap_or_default());
    let mut models: Vec<ModelName> = pairs
        .iter()
        .filter(|(key, _)| key == "model")
        .map(|(_, value)| ModelName(value.chars().filter(|c| !c.is_control()).collect()))
        .collect();
    models.dedup();
    if models.is_empty() {
        return Err(Problem::invalid("model", "Select at least one model. No changes were saved."));
    }
    // The default model comes first. If it isn't selected, the order is unchanged.
    models.sort_by_key(|model| Some(model.0.as_str()) != of("first"));
    Ok(Rules {
        requests: number("requests")?,
        tokens: number("tokens")?,
        in_flight: number("in_flight")?,
        max_output: number("max_output")?,
        storage_bytes: of("storage_mb").map(megabytes).transpose()?,
        shows_cost: match of("shows_cost") {
            None => None,
            Some("yes") => Some(true),
            Some("no") => Some(false),
            Some(_) => {
                return Err(Problem::invalid("shows_cost", "Show cost must be yes or no. No changes were saved."));
            }
        },
        api_keys: optional("api_keys", of("api_keys").unwrap_or_default(), API_KEYS, |text| {
            text.parse().ok().filter(|count| (0..=1_000).contains(count))
        })?,
        models,
    })
}

/// Parses a number of megabytes, which may be zero, to bytes.
fn megabytes(text: &str) -> Result<i64, Problem> {
    let megabytes = text.parse::<i64>().ok().filter(|megabytes| (0..=100_000_000).contains(megabytes));
    let message = "Enter a whole number of megabytes. No changes were saved.";
    Ok(megabytes.ok_or_else(|| Problem::invalid("storage_mb", message))? * 1_000_000)
}

/// `POST /admin/plans/{plan}`: sets a plan's limits and models.
pub(crate) async fn set_plan_rules(
    State(app): State<AppState>,
    Id(plan): Id<PlanId>,
    AdminForm { admin, form, request }: AdminForm<Vec<(String, String)>>,
) -> Response {
    let done: Result<(), Failure> = async {
        let rules = plan_rules(&form)?;
        actions::set_plan_rules(&app, admin.user_id, &plan, &rules).await
    }
    .await;
    let values = in_row(&plan.0, &PLAN_FIELDS, &form);
    answer_keeping(&app, request, done, "/admin/plans?saved=yes", values).await
}

/// `POST /admin/health/reconcile`: compares with Stripe now.
pub(crate) async fn reconcile(State(app): State<AppState>, SignedIn(admin): SignedIn, request: Request) -> Response {
    let done = actions::reconcile(&app, admin.user_id).await;
    answer(&app, request, done, "/admin/health").await
}

/// The replay form: the Stripe event to replay, or empty for all failed jobs.
#[derive(Deserialize)]
pub(crate) struct Replay {
    #[serde(default)]
    event: String,
}

/// `POST /admin/health/replay`: makes a failed Stripe event, or all failed jobs, due again.
pub(crate) async fn replay(
    State(app): State<AppState>,
    AdminForm { admin, form, request }: AdminForm<Replay>,
) -> Response {
    let what = if form.event.is_empty() { actions::Replay::Jobs } else { actions::Replay::Event(form.event) };
    let done = actions::replay(&app, admin.user_id, what).await;
    answer(&app, request, done, "/admin/health").await
}

/// The form that clears a billing flag.
#[derive(Deserialize)]
pub(crate) struct ClearFlag {
    kind: String,
    object: String,
}

/// `POST /admin/health/clear`: clears a billing flag.
pub(crate) async fn clear_flag(
    State(app): State<AppState>,
    AdminForm { admin, form, request }: AdminForm<ClearFlag>,
) -> Response {
    let done = actions::clear_flag(&app, admin.user_id, &form.kind, &form.object).await;
    answer(&app, request, done, "/admin/health").await
}

/// Parses an amount in dollars. Returns `None` if the field is empty.
fn dollars(text: &str) -> Result<Option<Picos>, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let cents = |amount: &Picos| amount.0 % 10_000_000_000 == 0 && (0..=9_000_000_000_000_000_000).contains(&amount.0);
    let amount = text.parse().ok().and_then(Picos::from_usd).filter(cents);
    amount.map(Some).ok_or_else(|| {
        Problem::invalid("daily_spend", "Enter an amount in dollars, like 25 or 0.50. No changes were saved.")
    })
}

/// A switch in a form.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Switch {
    On,
    Off,
}

/// The form for global switches. Missing fields leave the current value unchanged, even if the form was rendered earlier.
#[derive(Deserialize)]
pub(crate) struct SetGlobal {
    state: Option<Switch>,
    daily_spend: Option<String>,
}

/// `POST /admin/global`: pauses or resumes chat and sets the global spend cap.
pub(crate) async fn set_global(
    State(app): State<AppState>,
    AdminForm { admin, form, request }: AdminForm<SetGlobal>,
) -> Response {
    let done: Result<(), Failure> = async {
        let change = GlobalChange {
            paused: form.state.map(|state| state == Switch::Off),
            daily_spend: form.daily_spend.as_deref().map(dollars).transpose()?,
        };
        actions::set_global(&app, admin.user_id, change).await
    }
    .await;
    let values = form.daily_spend.map(|text| ("global_spend", text)).into_iter().collect();
    answer_keeping(&app, request, done, "/admin/models?saved=yes", values).await
}

/// The form for a model's rules. Missing fields leave the current value unchanged.
#[derive(Deserialize)]
pub(crate) struct SetModel {
    state: Option<Switch>,
    daily_spend: Option<String>,
    /// Empty for no fallback.
    fallback: Option<String>,
    /// Silence in whole seconds after which the turn is hedged. Empty disables hedging.
    hedge_after: Option<String>,
    /// The request field of the output limit. Empty learns it from the first refusal.
    output_limit: Option<String>,
    /// Empty for the provider's.
    first_byte_timeout_ms: Option<String>,
    /// Empty for the provider's.
    idle_timeout_ms: Option<String>,
    /// The day on which the model ends. Empty if none is announced.
    ends_at: Option<String>,
    /// Whether it reads images.
    takes_images: Option<Switch>,
    /// Whether it reasons: `none`, `optional` or `always`.
    thinking: Option<String>,
    /// Names of the reasoning efforts, lowest first, separated by commas. Empty if it has no such setting.
    efforts: Option<String>,
    /// Smallest prompt in tokens that is cached at an explicit breakpoint. Empty sets no breakpoints.
    min_cacheable: Option<String>,
}

/// Maximum number of reasoning efforts of a model.
const EFFORTS_MAX: usize = 12;
/// What to enter as reasoning efforts.
const EFFORTS_MESSAGE: &str = "Enter up to 12 different names of reasoning efforts, separated by commas, like low, medium, high. No changes were saved.";
/// The largest prompt in tokens from which caching can be set to begin.
const MIN_CACHEABLE_MAX: u64 = 100_000_000;
/// What to enter as the smallest cacheable prompt.
const MIN_CACHEABLE_MESSAGE: &str = "Enter 1 to 100000000 tokens, or leave it empty. No changes were saved.";

/// Parses the names of reasoning efforts, separated by commas.
fn parse_efforts(text: &str) -> Result<Vec<String>, Problem> {
    let efforts: Vec<String> =
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let is_name = |name: &String| {
        name.len() <= MAX_EFFORT && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let is_repeated = efforts.iter().enumerate().any(|(at, name)| efforts[..at].contains(name));
    if efforts.len() > EFFORTS_MAX || is_repeated || !efforts.iter().all(is_name) {
        return Err(Problem::invalid("efforts", EFFORTS_MESSAGE));
    }
    Ok(efforts)
}

/// Maximum silence before hedging, in seconds.
const HEDGE_AFTER_MAX_S: u32 = 60;

/// Converts whole seconds to milliseconds. Returns `None` if the text is empty.
fn hedge_after_ms(text: &str) -> Result<Option<u32>, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let seconds = text.parse().ok().filter(|seconds| (1..=HEDGE_AFTER_MAX_S).contains(seconds));
    let seconds =
        seconds.ok_or_else(|| Problem::invalid("hedge_after", "Enter 1 to 60 seconds, or leave it empty."))?;
    Ok(Some(seconds * 1_000))
}

impl SetModel {
    /// Returns what was typed, with the model in whose row it is shown again.
    fn values(&self, model: &ModelName) -> Vec<(&'static str, String)> {
        let switch = |state: Switch| match state {
            Switch::On => "on".to_owned(),
            Switch::Off => "off".to_owned(),
        };
        let fields = [
            ("row", Some(model.0.clone())),
            ("daily_spend", self.daily_spend.clone()),
            ("fallback", self.fallback.clone()),
            ("hedge_after", self.hedge_after.clone()),
            ("output_limit", self.output_limit.clone()),
            ("first_byte_timeout_ms", self.first_byte_timeout_ms.clone()),
            ("idle_timeout_ms", self.idle_timeout_ms.clone()),
            ("ends_at", self.ends_at.clone()),
            ("takes_images", self.takes_images.map(switch)),
            ("thinking", self.thinking.clone()),
            ("efforts", self.efforts.clone()),
            ("min_cacheable", self.min_cacheable.clone()),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// Parses how the model is called.
    fn call_settings(&self) -> Result<CallSettings, Problem> {
        let timeout = |field: &str, text: &Option<String>| {
            text.as_deref().map(|text| optional(field, text, TIMEOUT_MESSAGE, timeout_ms)).transpose()
        };
        let limit =
            |text| optional("output_limit", text, "Choose a field, or auto.", |text| text.parse::<OutputLimit>().ok());
        let format = time::macros::format_description!("[year]-[month]-[day]");
        let day = |text| optional("ends_at", text, "Enter a day.", |text| Date::parse(text, format).ok());
        let thinking = |text: &str| {
            let message = "Choose whether the model reasons. No changes were saved.";
            text.parse::<Thinking>().map_err(|_| Problem::invalid("thinking", message))
        };
        let tokens = |text: &str| text.parse::<u64>().ok().filter(|n| (1..=MIN_CACHEABLE_MAX).contains(n)).map(Tokens);
        let min_cacheable = |text| optional("min_cacheable", text, MIN_CACHEABLE_MESSAGE, tokens);
        Ok(CallSettings {
            output_limit: self.output_limit.as_deref().map(limit).transpose()?,
            first_byte_timeout_ms: timeout("first_byte_timeout_ms", &self.first_byte_timeout_ms)?,
            idle_timeout_ms: timeout("idle_timeout_ms", &self.idle_timeout_ms)?,
            ends_at: self.ends_at.as_deref().map(day).transpose()?,
            thinking: self.thinking.as_deref().map(thinking).transpose()?,
            efforts: self.efforts.as_deref().map(parse_efforts).transpose()?,
            min_cacheable: self.min_cacheable.as_deref().map(min_cacheable).transpose()?,
        })
    }
}

/// `POST /admin/models/{model}`: sets a model's rules.
pub(crate) async fn set_model(
    State(app): State<AppState>,
    Id(model): Id<ModelName>,
    AdminForm { admin, form, request }: AdminForm<SetModel>,
) -> Response {
    let values = form.values(&model);
    let done: Result<(), Failure> = async {
        let calls = form.call_settings()?;
        let change = ModelChange {
            calls,
            enabled: form.state.map(|state| state == Switch::On),
            takes_images: form.takes_images.map(|state| state == Switch::On),
            daily_spend: form.daily_spend.as_deref().map(dollars).transpose()?,
            fallback: form.fallback.map(|name| Some(name).filter(|name| !name.is_empty()).map(ModelName)),
            hedge_after_ms: form.hedge_after.as_deref().map(hedge_after_ms).transpose()?,
        };
        actions::set_model(&app, admin.user_id, &model, change).await
    }
    .await;
    answer_keeping(&app, request, done, "/admin/models?saved=yes", values).await
}

/// The form that adds a price.
#[derive(Deserialize)]
pub(crate) struct AddPrice {
    input: String,
    #[serde(default)]
    cache_read: String,
    #[serde(default)]
    cache_write: String,
    #[serde(default)]
    cache_write_long: String,
    output: String,
    /// Number of prompt tokens above which the price applies.
    #[serde(default)]
    above: String,
    #[serde(default)]
    effective_at: String,
}

impl AddPrice {
    /// Returns what was typed, with the model in whose row it is shown again.
    fn values(self, model: ModelName) -> Vec<(&'static str, String)> {
        vec![
            ("price", model.0),
            ("input", self.input),
            ("cache_read", self.cache_read),
            ("cache_write", self.cache_write),
            ("cache_write_long", self.cache_write_long),
            ("output", self.output),
            ("above", self.above),
            ("effective_at", self.effective_at),
        ]
    }
}

/// `POST /admin/models/{model}/price`: adds a price that applies from an instant on.
pub(crate) async fn add_price(
    State(app): State<AppState>,
    Id(model): Id<ModelName>,
    AdminForm { admin, form, request }: AdminForm<AddPrice>,
) -> Response {
    let done: Result<(), Failure> = async {
        let now = AppState::now();
        let price = |field: &str, text: &str| {
            let message = "Enter dollars per million tokens, like 0.25, not negative. No changes were saved.";
            MicrosPerMillion::parse_usd(text).ok_or_else(|| Problem::invalid(field, message))
        };
        let given = |text: &'_ str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let or_input = |field: &str, text: &str| given(text).map(|text| price(field, &text)).transpose();
        let tokens = |text: String| {
            let tokens = text.parse::<i64>().ok().filter(|tokens| (1..=100_000_000).contains(tokens));
            let message = "Enter a whole number of tokens. No changes were saved.";
            tokens.ok_or_else(|| Problem::invalid("above", message))
        };
        let tier = Tier {
            input: price("input", &form.input)?,
            cache_read: or_input("cache_read", &form.cache_read)?,
            cache_write: or_input("cache_write", &form.cache_write)?,
            cache_write_long: or_input("cache_write_long", &form.cache_write_long)?,
            output: price("output", &form.output)?,
        };
        let new = NewPrice {
            above: given(&form.above).map(tokens).transpose()?,
            tier,
            effective_at: instant(&form.effective_at, now)?,
        };
        actions::add_price(&app, admin.user_id, &model, &new).await
    }
    .await;
    answer_keeping(&app, request, done, "/admin/models?saved=yes", form.values(model)).await
}

/// Parses when a price takes effect: now if the field is empty. Rejects times in the past, because past prices never change.
fn instant(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, Problem> {
    if text.is_empty() {
        return Ok(now);
    }
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]");
    let at = time::PrimitiveDateTime::parse(text, format).ok().map(time::PrimitiveDateTime::assume_utc);
    let message = "A price can't start in the past. No changes were saved.";
    at.filter(|at| *at >= now).ok_or_else(|| Problem::invalid("effective_at", message))
}

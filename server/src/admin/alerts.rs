//! Alerts to admins by mail and webhook: a user with a large share of the day's usage, a spend cap that is nearly reached, the cap on
//! sign-ups, a proxy that isn't trusted, an open circuit, a provider that rejects our account or doesn't have a model, a model that is about to
//! end, dead letters, meter drift, an API key whose calls look like a loop, a user who can't buy a plan in its currency. Each is sent once when it
//! begins and once when it is resolved.

use crate::AppState;
use crate::billing::checkout::OTHER_CURRENCY;
use crate::failure::internal;
use crate::mail::{self, Mail};
use anyhow::{Context as _, ensure};
use app::view::admin::IgnoredForward;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::money::count;
use domain::{BillingFlag, ModelName, Picos, ReportPeriod};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use serde_json::json;
use std::collections::HashSet;
use std::time::Duration;
use store::alert;
use store::api_key::TrippedKey;
use store::job::Job;
use store::model_rule::ModelSettings;
use time::OffsetDateTime;

/// Kind of the jobs that call the alert webhook.
pub(crate) const WEBHOOK: &str = "alert_webhook";

/// Minimum cost of a day for alerts about a user's share.
const MIN_DAY_COST: Picos = Picos(1_000_000_000_000);
/// Hysteresis: an alert is resolved once its value is this many percentage points below its threshold.
const SLACK_PERCENT: u8 = 5;
/// Kinds of the alerts about open circuits, about providers that reject our account or don't have a model, about sign-ups that the hourly cap
/// refused, and about proxies that aren't trusted. Each server sees only its own calls and requests, so these alerts are resolved once no server
/// has seen their cause for `UNSEEN`.
const CIRCUIT: &str = "circuit";
const PROVIDER_ACCOUNT: &str = "provider_account";
const UNKNOWN_MODEL: &str = "unknown_model";
const SIGN_UP_CAP: &str = "sign_up_cap";
const UNTRUSTED_PROXY: &str = "untrusted_proxy";
const SEEN_BY_ONE_SERVER: [&str; 5] = [CIRCUIT, PROVIDER_ACCOUNT, UNKNOWN_MODEL, SIGN_UP_CAP, UNTRUSTED_PROXY];
/// Days before a model ends at which admins are alerted.
const ENDS_SOON: time::Duration = time::Duration::days(30);
const UNSEEN: time::Duration = time::Duration::seconds(150);

/// A cause of an alert.
struct Cause {
    about: String,
    message: String,
}

/// Checks every minute, and immediately when a circuit opens, a provider rejects our account or a model is unknown.
pub(crate) async fn work(app: AppState) {
    let mut tick = tokio::time::interval(Duration::from_secs(60));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = app.providers.circuit_opened() => {}
        }
        if let Err(error) = check(&app).await {
            internal(&format!("{error:#}"));
        }
    }
}

/// Checks all kinds once and notifies admins of new and resolved alerts. Only one server checks at a time, so that none acts on an alert
/// that another has just resolved. Alerts of a kind that can't be checked stay as they are.
async fn check(app: &AppState) -> anyhow::Result<()> {
    let mut tx = store::begin(&app.db).await?;
    alert::lock(&mut tx).await?;
    let now = AppState::now();
    let open_alerts: HashSet<(String, String)> =
        alert::list_open(&mut tx).await?.into_iter().map(|alert| (alert.kind, alert.about)).collect();
    let found = [
        ("user_share", large_shares(app, &open_alerts, now).await),
        ("spend_cap", spend_caps(app, &open_alerts, now).await),
        ("dead_letters", dead_letters(app).await),
        ("drift", drifted(app, now).await),
        ("model_ends", ending_models(app, now).await),
        ("api_key_loop", looping_keys(app, now).await),
        (OTHER_CURRENCY, other_currencies(app).await),
        (CIRCUIT, Ok(open_circuits(app))),
        (PROVIDER_ACCOUNT, Ok(rejected_accounts(app))),
        (UNKNOWN_MODEL, unknown_models(app, now).await),
        (SIGN_UP_CAP, Ok(refused_sign_ups(app, now))),
        (UNTRUSTED_PROXY, Ok(untrusted_proxies(app))),
    ];
    for (kind, causes) in found {
        let causes = match causes {
            Ok(causes) => causes,
            Err(error) => {
                internal(&format!("alerts of {kind}: {error:#}"));
                continue;
            }
        };
        for Cause { about, message } in causes {
            if let Some(id) = alert::seen(&mut tx, kind, &about, &message, now).await? {
                notify(app, &mut tx, id, kind, &message, false, now).await?;
            }
        }
        let unseen_since = if SEEN_BY_ONE_SERVER.contains(&kind) { now - UNSEEN } else { now };
        for ended in alert::end_unseen(&mut tx, kind, unseen_since, now).await? {
            notify(app, &mut tx, ended.id, kind, &ended.message, true, now).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

/// Returns users with a large share of the cost or tokens of the last 24 hours. An open alert stays until the share is `SLACK_PERCENT`
/// lower.
async fn large_shares(
    app: &AppState,
    open_alerts: &HashSet<(String, String)>,
    now: OffsetDateTime,
) -> anyhow::Result<Vec<Cause>> {
    let (since, _) = ReportPeriod::Day.bounds(now);
    let percent = app.config.alert_user_percent;
    let lower = percent - percent.min(SLACK_PERCENT);
    let mut causes = Vec::new();
    let mut tx = store::begin_reading(&app.admin_db).await?;
    let shares = store::rollup::large_shares(&mut tx, since, lower).await?;
    tx.commit().await?;
    for share in shares.into_iter().filter(|share| share.all_cost >= MIN_DAY_COST) {
        let cost = (share.cost.0.max(0).cast_unsigned(), share.all_cost.0.max(0).cast_unsigned());
        for ((part, whole), what) in [(cost, "cost"), ((share.tokens, share.all_tokens), "tokens")] {
            let about = format!("{what}:{}", share.subject);
            let is_open = open_alerts.contains(&("user_share".to_owned(), about.clone()));
            let threshold = if is_open { lower } else { percent };
            if u128::from(part) * 100 > u128::from(whole) * u128::from(threshold) {
                let user = share.email.as_deref().unwrap_or("A deleted user");
                let message = format!("{user} accounts for more than {percent} % of {what} in the last 24 hours.");
                causes.push(Cause { about, message });
            }
        }
    }
    Ok(causes)
}

/// A spend cap for any 24 hours and what is spent of it.
struct Cap {
    /// What the cap applies to: `global`, or `model:` and the model's name.
    about: String,
    /// Suffix for the message: empty, or " on " and the model's label.
    on: String,
    limit: Picos,
    spent: Picos,
}

impl Cap {
    /// Returns whether at least this percentage of the cap is spent. A cap of zero counts as fully spent.
    fn is_past(&self, percent: u8) -> bool {
        i128::from(self.spent.0) * 100 >= i128::from(self.limit.0) * i128::from(percent)
    }
}

/// Returns the spend caps, global and per model, that have reached 50, 80 or 100 %. An open alert stays until spend is `SLACK_PERCENT`
/// lower. Calls that might exceed the cap are refused, so the ledger stays slightly below it: 100 % also counts as reached if spend is
/// above 80 % and a user was refused within the last hour.
async fn spend_caps(
    app: &AppState,
    open_alerts: &HashSet<(String, String)>,
    now: OffsetDateTime,
) -> anyhow::Result<Vec<Cause>> {
    let db = &app.admin_db;
    let mut tx = store::begin_reading(db).await?;
    let spent = store::rollup::spent_in_a_day(&mut tx, now).await?;
    tx.commit().await?;
    let switches = store::deployment::switches(db).await?;
    let are_refused = store::refusal::since(db, "spend_cap", now - time::Duration::HOUR).await? > 0;
    let global = [switches.daily_spend, app.config.daily_spend].into_iter().flatten().min().map(|limit| Cap {
        about: "global".to_owned(),
        on: String::new(),
        limit,
        spent: spent.values().fold(Picos::ZERO, |sum, cost| sum.plus(*cost)),
    });
    let models = store::model_rule::list(db, now).await?.into_iter().filter_map(|row| {
        Some(Cap {
            about: format!("model:{}", row.model.name),
            on: format!(" on {}", row.model.label),
            limit: row.rules.daily_spend?,
            spent: spent.get(&row.model.name.0).copied().unwrap_or_default(),
        })
    });
    let mut causes = Vec::new();
    for cap in global.into_iter().chain(models).filter(|cap| cap.limit > Picos::ZERO) {
        for level in [50_u8, 80, 100] {
            let about = format!("{}:{level}", cap.about);
            let is_open = open_alerts.contains(&("spend_cap".to_owned(), about.clone()));
            let threshold = level - if is_open { SLACK_PERCENT } else { 0 };
            if cap.is_past(threshold) || (level == 100 && are_refused && cap.is_past(80)) {
                let message = format!("{level} % of the {} daily spend cap{} is used.", cap.limit, cap.on);
                causes.push(Cause { about, message });
            }
        }
    }
    Ok(causes)
}

/// Returns the providers whose circuit is open on this server because they failed.
fn open_circuits(app: &AppState) -> Vec<Cause> {
    let rejected = app.providers.account_problems();
    let open = app.providers.circuits().into_iter().filter(|(provider, open_for_ms)| {
        open_for_ms.is_some() && !rejected.iter().any(|(rejecting, _)| rejecting == provider)
    });
    let message =
        |provider: &str| format!("{provider} failed repeatedly. Its circuit is open, so it gets no requests for now.");
    open.map(|(provider, _)| Cause { message: message(&provider), about: provider }).collect()
}

/// Returns the providers that reject our account, until a call of this server works (field notes 58 and 59).
fn rejected_accounts(app: &AppState) -> Vec<Cause> {
    let cause = |(provider, reason): (String, &str)| {
        let message = format!("{provider} {reason}. Its models are unavailable until you fix this.");
        Cause { about: provider, message }
    };
    app.providers.account_problems().into_iter().map(cause).collect()
}

/// Returns the enabled models that their providers don't know, until a call of this server works.
async fn unknown_models(app: &AppState, now: OffsetDateTime) -> anyhow::Result<Vec<Cause>> {
    let unknown = app.providers.unknown_models();
    if unknown.is_empty() {
        return Ok(Vec::new());
    }
    let models = store::model_rule::list(&app.admin_db, now).await?;
    let is_enabled = |name: &ModelName| models.iter().any(|row| row.rules.enabled && row.model.name == *name);
    let cause = |(provider, model): (String, ModelName)| Cause {
        message: format!(
            "{provider} doesn't know the model {model}, or your account may not use it. Chats use its fallback if it has one; API calls are refused. Replace or disable the model."
        ),
        about: model.0,
    };
    Ok(unknown.into_iter().filter(|(_, model)| is_enabled(model)).map(cause).collect())
}

/// Returns a cause if the hourly cap on sign-ups refused one within the last hour (field note 64).
fn refused_sign_ups(app: &AppState, now: OffsetDateTime) -> Vec<Cause> {
    let refused = app.protection.sign_up_refused_at().filter(|at| now - *at < time::Duration::HOUR);
    let cause = |_| Cause {
        about: "global".to_owned(),
        message: format!(
            "The cap of {} an hour was reached, and visitors can't sign up. If they are real, raise SIGN_UP_HOURLY_CAP.",
            count(app.config.sign_up_hourly_cap, "sign-up", "sign-ups")
        ),
    };
    refused.map(cause).into_iter().collect()
}

/// Returns the peer whose forwarded addresses this server ignores, if it is most likely our own proxy (field note 65).
fn untrusted_proxies(app: &AppState) -> Vec<Cause> {
    let cause = |ignored: IgnoredForward| Cause {
        message: format!(
            "Requests from {} are forwarded, but TRUSTED_PROXIES doesn't name it: all users behind it share one attempt limit.",
            ignored.peer
        ),
        about: ignored.peer,
    };
    app.protection.forwards.latest_private().map(cause).into_iter().collect()
}

/// Returns the enabled models that their providers switch off within `ENDS_SOON`, or have switched off (field note 62).
async fn ending_models(app: &AppState, now: OffsetDateTime) -> anyhow::Result<Vec<Cause>> {
    let models = store::model_rule::list(&app.admin_db, now).await?;
    let cause = |row: ModelSettings| {
        let ends_at = row.model.ends_at.filter(|day| row.rules.enabled && *day <= (now + ENDS_SOON).date())?;
        let message = format!(
            "The provider of {} announced its end on {ends_at}. Switch to another model and disable this one.",
            row.model.label
        );
        Some(Cause { about: format!("{}:{ends_at}", row.model.name), message })
    };
    Ok(models.into_iter().filter_map(cause).collect())
}

/// Returns the API keys that the loop breaker refuses, or did in the last hour: a program that continues after each refusal causes one alert.
async fn looping_keys(app: &AppState, now: OffsetDateTime) -> anyhow::Result<Vec<Cause>> {
    let cause = |key: TrippedKey| Cause {
        message: format!(
            "The API key {}… of {} {}, which looks like a loop. Its calls are refused for 5 minutes at a time.",
            key.prefix,
            key.email,
            key.reason.describe()
        ),
        about: key.id.to_string(),
    };
    let since = now - time::Duration::HOUR;
    Ok(store::api_key::list_tripped(&app.admin_db, since).await?.into_iter().map(cause).collect())
}

/// Returns the users whose checkout Stripe refused because they have paid in another currency, until an admin dismisses the flag.
async fn other_currencies(app: &AppState) -> anyhow::Result<Vec<Cause>> {
    let cause = |flag: BillingFlag| Cause {
        message: format!(
            "{} has paid in another currency, so Stripe refuses the checkout of a plan. See the customer in Stripe, then dismiss this on the health page.",
            flag.email.as_deref().unwrap_or("A deleted user")
        ),
        about: flag.object_id,
    };
    let flags = store::billing_flag::list_open(&app.admin_db).await?;
    Ok(flags.into_iter().filter(|flag| flag.kind == OTHER_CURRENCY).map(cause).collect())
}

/// Returns Stripe events and jobs that have become dead letters.
async fn dead_letters(app: &AppState) -> anyhow::Result<Vec<Cause>> {
    let db = &app.admin_db;
    let (inbox, queue) = (store::stripe_event::inbox(db).await?, store::job::queue(db).await?);
    let counts = [
        ("stripe", inbox.dead_letters.len() as u64, "Stripe event", "Stripe events"),
        ("jobs", queue.dead.unsigned_abs(), "job (such as mail)", "jobs (such as mail)"),
    ];
    let cause = |(about, n, one, many): (&str, u64, &str, &str)| Cause {
        about: about.to_owned(),
        message: format!("{} failed repeatedly and can be retried.", count(n, one, many)),
    };
    Ok(counts.into_iter().filter(|(_, n, _, _)| *n > 0).map(cause).collect())
}

/// Returns a cause if any meters differed from the ledger in the last 24 hours.
async fn drifted(app: &AppState, now: OffsetDateTime) -> anyhow::Result<Vec<Cause>> {
    let drifts = store::usage::drifts(&app.admin_db, now - time::Duration::days(1)).await?;
    let cause = || Cause {
        about: "meters".to_owned(),
        message: count(
            drifts.unsigned_abs(),
            "usage counter differed from the ledger in the last 24 hours and was rebuilt.",
            "usage counters differed from the ledger in the last 24 hours and were rebuilt.",
        ),
    };
    Ok((drifts > 0).then(cause).into_iter().collect())
}

/// Queues the mails and the webhook call in the transaction of the alert.
async fn notify(
    app: &AppState,
    tx: &mut store::Tx,
    id: uuid::Uuid,
    kind: &str,
    message: &str,
    is_over: bool,
    now: OffsetDateTime,
) -> anyhow::Result<()> {
    for admin in store::account::admins(&mut *tx).await? {
        let mail = Mail::Alert { message: message.to_owned(), is_over };
        mail::queue(tx, admin, &mail, &format!("{id}:{admin}"), now).await?;
    }
    if app.config.alert_webhook.is_some() {
        let state = if is_over { "over" } else { "begun" };
        let body = json!({"id": id, "kind": kind, "state": state, "message": message, "at": now.unix_timestamp()});
        store::job::add(&mut *tx, WEBHOOK, Some(&format!("{WEBHOOK}:{id}:{state}")), &body, now).await?;
    }
    Ok(())
}

/// Calls the webhook, signed according to [Standard
/// Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md). Retries use the same id. Redirects aren't
/// followed: most would turn the call into a GET without the alert, whose success says nothing.
///
/// # Errors
/// Returns an error unless the webhook itself responds with success within ten seconds.
pub(crate) async fn call(app: &AppState, job: &Job) -> anyhow::Result<()> {
    let Some((url, secret)) = &app.config.alert_webhook else { return Ok(()) };
    let (id, at, body) = (job.id.to_string(), AppState::now().unix_timestamp(), job.payload.to_string());
    let key = STANDARD.decode(secret.expose_secret().trim_start_matches("whsec_")).context("ALERT_WEBHOOK_SECRET")?;
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key)?;
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let answer = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .build()?
        .post(url.expose_secret())
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", at.to_string())
        .header("webhook-signature", signature)
        .body(body)
        .send()
        .await
        // The URL may contain a secret.
        .map_err(|error| anyhow::anyhow!("alert webhook failed: {}", error.without_url()))?;
    ensure!(answer.status().is_success(), "alert webhook responded with {}", answer.status());
    Ok(())
}

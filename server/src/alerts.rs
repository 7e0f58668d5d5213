//! Alerts to admins by mail and webhook: a user with a large share of the day's usage, a spend cap that is nearly reached, an open circuit,
//! dead letters, meters that differed. Each is sent once when it begins and once when it is over.

use crate::AppState;
use crate::error::internal;
use crate::mail::{self, Mail};
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Picos;
use domain::money::count;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use serde_json::json;
use std::collections::HashSet;
use std::time::Duration;
use store::alert;
use store::job::Job;
use store::top_users::{Order, UsageFilter};
use time::OffsetDateTime;

/// A job that tells the webhook.
pub(crate) const WEBHOOK: &str = "alert_webhook";

/// Nobody is heavy in a day that cost less.
const LEAST_DAY: Picos = Picos(1_000_000_000_000);
/// An alert stays open until its cause is this many per cent below its level, so that it does not flap.
const SLACK_PERCENT: u8 = 5;
/// A provider's circuit is one server's own to see: it is over once it has gone unseen for a while.
const CIRCUIT: &str = "circuit";
const UNSEEN: time::Duration = time::Duration::seconds(150);

/// The cause of an alert.
struct Cause {
    about: String,
    said: String,
}

/// Checks every minute, and at once when a circuit opens.
pub(crate) async fn work(app: AppState) {
    let mut tick = tokio::time::interval(Duration::from_secs(60));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = app.providers.circuit_opened() => {}
        }
        if let Err(error) = watch(&app).await {
            internal(&format!("{error:#}"));
        }
    }
}

/// Looks once: tells what is new, and what is over. One server at a time looks, so that none acts on what another has just ended; a
/// kind that can't be read is left as it stands.
async fn watch(app: &AppState) -> anyhow::Result<()> {
    let mut tx = store::begin(&app.db).await?;
    alert::lock(&mut tx).await?;
    let now = AppState::now();
    let fakeg: HashSet<(String, String)> =
        alert::fakeg(&mut tx).await?.into_iter().map(|alert| (alert.kind, alert.about)).collect();
    let found = [
        ("user_share", top_shares(app, &fakeg, now).await),
        ("spend_cap", spent(app, &fakeg, now).await),
        ("dead_letters", given_up(app).await),
        ("drift", drifted(app, now).await),
        (CIRCUIT, Ok(open_circuits(app))),
    ];
    for (kind, causes) in found {
        let causes = match causes {
            Ok(causes) => causes,
            Err(error) => {
                internal(&format!("alerts of {kind}: {error:#}"));
                continue;
            }
        };
        for Cause { about, said } in causes {
            if let Some(id) = alert::seen(&mut tx, kind, &about, &said, now).await? {
                tell(app, &mut tx, id, kind, &said, false, now).await?;
            }
        }
        let unseen_since = if kind == CIRCUIT { now - UNSEEN } else { now };
        for ended in alert::end_unseen(&mut tx, kind, unseen_since, now).await? {
            tell(app, &mut tx, ended.id, kind, &ended.said, true, now).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

/// Users with a large share of the last 24 hours' usage, until they are well below it.
async fn top_shares(
    app: &AppState,
    fakeg: &HashSet<(String, String)>,
    now: OffsetDateTime,
) -> anyhow::Result<Vec<Cause>> {
    let (from, to) = app::api::admin::Period::Day.bounds(now);
    let percent = app.config.alert_user_percent;
    let mut causes = Vec::new();
    let mut tx = store::begin_reading(&app.admin_db).await?;
    for (order, what) in [(Order::Cost, "cost"), (Order::Tokens, "tokens")] {
        let asked = UsageFilter { from, to, order, plan: None, model: None, search: None, offset: 0, limit: 100 };
        let top_users = store::top_users::list(&mut tx, &asked).await?;
        let (all, users) = (top_users.all, top_users.users);
        for row in top_users.rows {
            let (part, whole) = match order {
                Order::Cost => (row.totals.cost.0.max(0).cast_unsigned(), all.cost.0.max(0).cast_unsigned()),
                _ => (row.totals.tokens().0, all.tokens().0),
            };
            let about = format!("{what}:{}", row.subject);
            let stands = fakeg.contains(&("user_share".to_owned(), about.clone()));
            let least = percent - if stands { percent.min(SLACK_PERCENT) } else { 0 };
            let is_heavy = u128::from(part) * 100 > u128::from(whole) * u128::from(least);
            if all.cost >= LEAST_DAY && users > 1 && is_heavy {
                let who = row.email.unwrap_or_else(|| "A deleted user".to_owned());
                causes.push(Cause {
                    about,
                    said: format!("{who} accounts for more than {percent} % of {what} in the last 24 hours."),
                });
            }
        }
    }
    tx.commit().await?;
    Ok(causes)
}

/// What may be spent in any day, and what of it is spent.
struct Cap {
    /// The deployment, or a model.
    about: String,
    /// As users read it: empty, or " on" a model.
    on: String,
    may: Picos,
    spent: Picos,
}

impl Cap {
    /// Whether so many per cent of it are spent; one of nothing is spent from the beginning.
    fn is_past(&self, percent: u8) -> bool {
        i128::from(self.spent.0) * 100 >= i128::from(self.may.0) * i128::from(percent)
    }
}

/// Caps that come near, the deployment's and each model's own; open until spending is well below the level again. A call is refused where it
/// might end above the cap, so that the ledger stays a little below: the last level is reached once somebody was refused.
async fn spent(app: &AppState, fakeg: &HashSet<(String, String)>, now: OffsetDateTime) -> anyhow::Result<Vec<Cause>> {
    let db = &app.admin_db;
    let mut tx = store::begin_reading(db).await?;
    let spent = store::span::spent_in_a_day(&mut tx, now).await?;
    tx.commit().await?;
    let switches = store::deployment::switches(db).await?;
    let are_refused = store::refusal::since(db, "spend_cap", now - time::Duration::HOUR).await? > 0;
    let of_house = [switches.daily_spend, app.config.daily_spend].into_iter().flatten().min().map(|may| Cap {
        about: "global".to_owned(),
        on: String::new(),
        may,
        spent: spent.values().fold(Picos::ZERO, |sum, cost| sum.plus(*cost)),
    });
    let of_models = store::model_rule::list(db, now).await?.into_iter().filter_map(|row| {
        Some(Cap {
            about: format!("model:{}", row.model.name),
            on: format!(" on {}", row.model.label),
            may: row.rules.daily_spend?,
            spent: spent.get(&row.model.name.0).copied().unwrap_or_default(),
        })
    });
    let mut causes = Vec::new();
    for cap in of_house.into_iter().chain(of_models).filter(|cap| cap.may > Picos::ZERO) {
        for level in [50_u8, 80, 100] {
            let about = format!("{}:{level}", cap.about);
            let stands = fakeg.contains(&("spend_cap".to_owned(), about.clone()));
            let least = level - if stands { SLACK_PERCENT } else { 0 };
            if cap.is_past(least) || (level == 100 && are_refused && cap.is_past(80)) {
                let said = format!("{level} % of the {} daily spend cap{} is used.", cap.may, cap.on);
                causes.push(Cause { about, said });
            }
        }
    }
    Ok(causes)
}

/// Providers that this server leaves alone.
fn open_circuits(app: &AppState) -> Vec<Cause> {
    let open = app.providers.circuits().into_iter().filter(|(_, open_for_ms)| open_for_ms.is_some());
    let said = |provider: &str| format!("{provider} failed repeatedly. Its circuit is open.");
    open.map(|(provider, _)| Cause { said: said(&provider), about: provider }).collect()
}

/// Events and jobs that failed too often.
async fn given_up(app: &AppState) -> anyhow::Result<Vec<Cause>> {
    let db = &app.admin_db;
    let (inbox, queue) = (store::stripe_event::inbox(db).await?, store::job::queue(db).await?);
    let dead = [
        ("stripe", inbox.dead.len() as u64, "Stripe event", "Stripe events"),
        ("jobs", queue.dead.unsigned_abs(), "job (such as mail)", "jobs (such as mail)"),
    ];
    let cause = |(about, n, one, many): (&str, u64, &str, &str)| Cause {
        about: about.to_owned(),
        said: format!("{} failed for good and can be retried.", count(n, one, many)),
    };
    Ok(dead.into_iter().filter(|(_, n, _, _)| *n > 0).map(cause).collect())
}

/// Meters that differed from the ledger.
async fn drifted(app: &AppState, now: OffsetDateTime) -> anyhow::Result<Vec<Cause>> {
    let drifts = store::usage::drifts(&app.admin_db, now - time::Duration::days(1)).await?;
    let cause = || Cause {
        about: "meters".to_owned(),
        said: count(
            drifts.unsigned_abs(),
            "usage counter differed from the ledger in the last 24 hours and was rebuilt.",
            "usage counters differed from the ledger in the last 24 hours and were rebuilt.",
        ),
    };
    Ok((drifts > 0).then(cause).into_iter().collect())
}

/// Queues the letters and the webhook's call, with the alert's own row.
async fn tell(
    app: &AppState,
    tx: &mut store::Tx,
    id: uuid::Uuid,
    kind: &str,
    said: &str,
    is_over: bool,
    now: OffsetDateTime,
) -> anyhow::Result<()> {
    for admin in store::account::admins(&mut *tx).await? {
        let mail = Mail::Alert { said: said.to_owned(), is_over };
        mail::queue(tx, admin, &mail, &format!("{id}:{admin}"), now).await?;
    }
    if app.config.alert_webhook.is_some() {
        let state = if is_over { "over" } else { "begun" };
        let body = json!({"id": id, "kind": kind, "state": state, "said": said, "at": now.unix_timestamp()});
        store::job::add(&mut *tx, WEBHOOK, Some(&format!("{WEBHOOK}:{id}:{state}")), &body, now).await?;
    }
    Ok(())
}

/// Calls the webhook, signed as Standard Webhooks has it
/// (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>): the same id for every try.
///
/// # Errors
/// Returns an error if it doesn't answer with success within ten seconds.
pub(crate) async fn call(app: &AppState, job: &Job) -> anyhow::Result<()> {
    let Some((url, secret)) = &app.config.alert_webhook else { return Ok(()) };
    let (id, at, body) = (job.id.to_string(), AppState::now().unix_timestamp(), job.payload.to_string());
    let key = STANDARD.decode(secret.expose_secret().trim_start_matches("whsec_")).context("ALERT_WEBHOOK_SECRET")?;
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key)?;
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let answer = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()?
        .post(url.expose_secret())
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", at.to_string())
        .header("webhook-signature", signature)
        .body(body)
        .send()
        .await
        // The address may hold a secret.
        .map_err(|error| anyhow::anyhow!("the alerts' webhook: {}", error.without_url()))?;
    ensure!(answer.status().is_success(), "the alerts' webhook answered {}", answer.status());
    Ok(())
}

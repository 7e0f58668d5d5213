//! What the owner is told of by mail and by webhook: somebody who costs a large part of the day, a cap that comes near, a vendor that is
//! left alone, dead letters, meters that differed. Each once when it begins and once when it is over.

use crate::House;
use crate::mail::{self, Mail};
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Picos;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use serde_json::json;
use std::time::Duration;
use store::alert;
use store::heaviest::{Asked, Order};
use store::job::Job;
use time::OffsetDateTime;

/// A job that tells the webhook.
pub(crate) const WEBHOOK: &str = "alert_webhook";

/// Nobody is heavy in a day that cost less.
const LEAST_DAY: Picos = Picos(1_000_000_000_000);
/// Kinds whose causes every server reads from Postgres: over as soon as they aren't there.
const SHARED: [&str; 4] = ["person_share", "spend_cap", "dead_letters", "drift"];
/// A vendor's circuit is one server's own to see.
const OWN: [&str; 1] = ["circuit"];
/// How long what one server sees may go unseen.
const UNSEEN: time::Duration = time::Duration::seconds(150);

/// Something to be told of.
struct Cause {
    kind: &'static str,
    about: String,
    said: String,
}

/// Looks once: tells what is new, and what is over.
pub(crate) async fn watch(house: &House) -> anyhow::Result<()> {
    let now = House::now();
    let causes = causes(house, now).await?;
    let mut tx = store::begin(&house.db).await?;
    if !alert::alone(&mut tx).await? {
        return Ok(());
    }
    for cause in &causes {
        if let Some(id) = alert::seen(&mut tx, cause.kind, &cause.about, &cause.said, now).await? {
            tell(house, &mut tx, id, cause.kind, &cause.said, false, now).await?;
        }
    }
    let mut over = alert::end_unseen(&mut tx, &SHARED, now, now).await?;
    over.extend(alert::end_unseen(&mut tx, &OWN, now - UNSEEN, now).await?);
    for ended in over {
        tell(house, &mut tx, ended.id, &ended.kind, &ended.said, true, now).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn causes(house: &House, now: OffsetDateTime) -> anyhow::Result<Vec<Cause>> {
    let mut causes = Vec::new();
    let db = &house.admin_db;
    let (from, to) = app::api::admin::Period::Day.span(now);
    let percent = house.config.alert_person_percent;
    for (order, what) in [(Order::Cost, "cost"), (Order::Tokens, "tokens")] {
        let asked = Asked { from, to, order, plan: None, model: None, search: None, offset: 0, limit: 2 };
        for row in store::heaviest::list(db, &asked).await? {
            let (part, whole) = match order {
                Order::Cost => (row.totals.cost.0.max(0).cast_unsigned(), row.all.cost.0.max(0).cast_unsigned()),
                _ => (row.totals.tokens().0, row.all.tokens().0),
            };
            if row.all.cost >= LEAST_DAY
                && row.people > 1
                && u128::from(part) * 100 > u128::from(whole) * u128::from(percent)
            {
                let who = row.email.clone().unwrap_or_else(|| "A deleted account".to_owned());
                causes.push(Cause {
                    kind: "person_share",
                    about: format!("{what}:{}", row.subject),
                    said: format!("{who} is above {percent} % of the last 24 hours' {what}."),
                });
            }
        }
    }
    let spent = store::model_rule::list(db, now).await?.iter().fold(Picos::ZERO, |sum, row| sum.plus(row.spent));
    let switches = store::house::switches(db).await?;
    if let Some(cap) = [switches.daily_spend, house.config.daily_spend].into_iter().flatten().min() {
        for level in [50_i128, 80, 100] {
            if cap > Picos::ZERO && i128::from(spent.0) * 100 >= i128::from(cap.0) * level {
                causes.push(Cause {
                    kind: "spend_cap",
                    about: format!("house:{level}"),
                    said: format!("{level} % of the {cap} that may be spent in a day are spent."),
                });
            }
        }
    }
    for (vendor, left_alone) in house.vendors.circuits() {
        if left_alone.is_some() {
            let said = format!("{vendor} failed again and again and is left alone for the moment.");
            causes.push(Cause { kind: "circuit", about: vendor, said });
        }
    }
    let (inbox, queue) = (store::stripe_event::inbox(db).await?, store::job::queue(db).await?);
    for (about, n, what) in [
        ("stripe", i64::try_from(inbox.dead.len())?, "events of Stripe's"),
        ("jobs", queue.dead, "jobs, such as mail,"),
    ] {
        if n > 0 {
            causes.push(Cause {
                kind: "dead_letters",
                about: about.to_owned(),
                said: format!("{n} {what} were given up. They can be tried again."),
            });
        }
    }
    let drifts = store::usage::drifts(db, now - time::Duration::days(1)).await?;
    if drifts > 0 {
        causes.push(Cause {
            kind: "drift",
            about: "meters".to_owned(),
            said: format!("{drifts} meters differed from the ledger in a day and were rebuilt."),
        });
    }
    Ok(causes)
}

/// Queues the letters and the webhook's call, with the alert's own row.
async fn tell(
    house: &House,
    tx: &mut store::Tx,
    id: uuid::Uuid,
    kind: &str,
    said: &str,
    is_over: bool,
    now: OffsetDateTime,
) -> anyhow::Result<()> {
    for admin in store::account::admins(&mut **tx).await? {
        let mail = Mail::Alert { said: said.to_owned(), is_over };
        mail::queue(tx, admin, &mail, &format!("{id}:{admin}"), now).await?;
    }
    if house.config.alert_webhook.is_some() {
        let state = if is_over { "over" } else { "begun" };
        let body = json!({"id": id, "kind": kind, "state": state, "said": said, "at": now.unix_timestamp()});
        store::job::add(&mut **tx, WEBHOOK, Some(&format!("{WEBHOOK}:{id}:{state}")), &body, now).await?;
    }
    Ok(())
}

/// Calls the webhook, signed as Standard Webhooks has it
/// (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>): the same id for every try.
///
/// # Errors
/// When it doesn't answer with success within ten seconds.
pub(crate) async fn call(house: &House, job: &Job) -> anyhow::Result<()> {
    let Some((url, secret)) = &house.config.alert_webhook else { return Ok(()) };
    let (id, at, body) = (job.id.to_string(), House::now().unix_timestamp(), job.payload.to_string());
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

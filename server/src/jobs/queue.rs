//! Processes queued jobs, such as mail, at least once.

use crate::AppState;
use crate::admin::alerts;
use crate::billing::client::backoff;
use crate::billing::reconcile;
use crate::failure::internal;
use crate::mail::{self, QueuedMail};
use anyhow::{Context as _, bail};
use std::time::Duration;
use store::account;
use store::job::{self, Job, Lane};

/// Number of attempts, spread over about three hours, after which a job becomes a dead letter.
const MAX_ATTEMPTS: i32 = 14;

/// Processes the jobs of a lane forever, polling every second.
pub(crate) async fn work(app: AppState, lane: Lane) {
    loop {
        match next(&app, lane).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                internal(&format!("{error:#}"));
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Processes one job. Returns `false` if none is due.
async fn next(app: &AppState, lane: Lane) -> anyhow::Result<bool> {
    let mut tx = store::begin(&app.db).await?;
    let Some(due) = job::take(&mut tx, lane).await? else { return Ok(false) };
    if let Err(error) = perform(app, &due).await {
        drop(tx);
        let retry_in = (due.attempts + 1 < MAX_ATTEMPTS).then(|| backoff(due.attempts));
        tracing::warn!(job = %due.id, kind = due.kind, again = retry_in.is_some(), "job failed: {error:#}");
        job::failed(&app.db, due.id, &format!("{error:#}"), retry_in, AppState::now()).await?;
        return Ok(true);
    }
    job::done(&mut tx, due.id, AppState::now()).await?;
    tx.commit().await.context("commit")?;
    Ok(true)
}

/// Performs a job of any kind.
async fn perform(app: &AppState, job: &Job) -> anyhow::Result<()> {
    match job.kind.as_str() {
        mail::JOB => {
            let queued: QueuedMail = serde_json::from_value(job.payload.clone()).context("payload")?;
            let user = account::viewer(&app.db, queued.user_id).await?;
            // The account was deleted: the mail is dropped.
            let Some(to) = queued.recipient(user.as_ref()) else { return Ok(()) };
            let zone = user.as_ref().map_or("UTC", |user| user.time_zone.as_str());
            let mail = queued.mail.in_zone(&app.db, zone).await?;
            app.mailer.send(&to.email, mail.render(&to, &app.site())?).await
        }
        account::CLOSE_CUSTOMER => {
            let customer = job.payload["customer_id"].as_str().context("payload")?;
            let sessions: Vec<String> = serde_json::from_value(job.payload["sessions"].clone()).unwrap_or_default();
            let billing = app.billing.as_ref().context("STRIPE_SECRET_KEY isn't set")?;
            reconcile::close(&app.db, billing, customer, &sessions).await
        }
        account::CLOSE_DUPLICATES => {
            // Without Stripe there is nothing to close.
            let Some(billing) = &app.billing else { return Ok(()) };
            let user_id = serde_json::from_value(job.payload["user_id"].clone()).context("payload")?;
            for customer in billing.stripe.customers_of(user_id, job.payload["email"].as_str()).await? {
                account::queue_close(&app.db, &customer, AppState::now()).await?;
            }
            Ok(())
        }
        alerts::WEBHOOK => alerts::call(app, job).await,
        other => bail!("unknown job kind {other}"),
    }
}

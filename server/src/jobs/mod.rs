//! Background work: scheduled jobs, the job queue and the Stripe inbox.

pub(crate) mod meters;
mod queue;
mod reaper;
mod retention;
pub(crate) mod subjects;
mod sweep;

use crate::AppState;
use crate::accounts::totp;
use crate::admin::alerts;
use crate::billing::client::failed;
use crate::billing::{inbox, reconcile};
use crate::failure::internal;
use domain::Problem;
use meters::Rounds;
use std::sync::Arc;
use std::time::Duration;
use store::job::Lane;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Minimum age of the usage report before a server refreshes it again, so that several servers don't refresh it more often.
const REPORT_MIN_AGE: time::Duration = time::Duration::seconds(45);

/// How long a deleted conversation can be restored.
const RESTORABLE: time::Duration = time::Duration::MINUTE;

/// Maximum number of calls of the last 30 days from which token counts are learned, the newest ones of all models. Bounds an hourly query.
const LEARNED_FROM: i64 = 200_000;

/// Starts all jobs. They end when the set is dropped or aborted.
pub(crate) fn spawn(app: &AppState) -> JoinSet<()> {
    let mut set = JoinSet::new();
    let reaper = Arc::new(reaper::Reaper::default());
    every(&mut set, app, Duration::from_secs(15), move |app| {
        let reaper = Arc::clone(&reaper);
        async move { reaper.reap(&app).await }
    });
    every(&mut set, app, Duration::from_secs(1), |app| async move { app.flush_settled().await });
    every(&mut set, app, Duration::from_secs(5), |app| async move { app.flush_refusals().await });
    every(&mut set, app, Duration::from_secs(3_600), hourly);
    let rounds: Arc<Mutex<Rounds>> = Arc::default();
    every(&mut set, app, Duration::from_secs(600), move |app| compare_meters(app, Arc::clone(&rounds)));
    every(&mut set, app, Duration::from_secs(60), |app| async move {
        if let Err(error) = store::rollup::refresh(&app.jobs_db, REPORT_MIN_AGE).await {
            internal(&error);
        }
    });
    every(&mut set, app, Duration::from_secs(60), |app| async move { app.protection.sweep() });
    every(&mut set, app, Duration::from_secs(20), erase_deleted);
    // The streams of a session that has ended are closed on every server within a second.
    every(&mut set, app, Duration::from_millis(500), |app| async move {
        app.protection.streams.close_ended(&app.db).await;
    });
    set.spawn(alerts::work(app.clone()));
    set.spawn(inbox::work(app.clone()));
    for lane in [Lane::Messages, Lane::Others] {
        set.spawn(queue::work(app.clone(), lane));
    }
    set.spawn(subjects::work(app.clone()));
    let identities = app.clone();
    set.spawn(async move { identities.identities.discover().await });
    every(&mut set, app, Duration::from_secs(60), reconcile_due);
    set
}

/// Compares the meters of users and of API keys with the ledger.
async fn compare_meters(app: AppState, rounds: Arc<Mutex<Rounds>>) {
    let mut rounds = rounds.lock().await;
    if let Err(error) = meters::compare_meters(&app, &mut rounds).await {
        internal(&format!("{error:#}"));
    }
    if let Err(error) = meters::compare_key_meters(&app, &mut rounds).await {
        internal(&format!("{error:#}"));
    }
}

/// Erases conversations that were deleted some time ago.
async fn erase_deleted(app: AppState) {
    if let Err(error) = store::conversation::erase_deleted(&app.jobs_db, AppState::now() - RESTORABLE).await {
        internal(&error);
    }
}

/// Removes expired rows and conversations, maintains the ledger's partitions, learns token counts, compares the budgets, and encrypts secrets
/// again whose key was replaced.
async fn hourly(app: AppState) {
    sweep::sweep(&app).await;
    retention::erase_expired(&app).await;
    if let Err(error) = store::ledger::make_months_ahead(&app.jobs_db, AppState::now()).await {
        internal(&error);
    }
    if let Err(error) = drop_old_months(&app).await {
        internal(&format!("old months of the ledger not dropped; will retry in an hour: {error:#}"));
    }
    if let Err(error) =
        store::model::update_estimates(&app.jobs_db, AppState::now() - time::Duration::days(30), LEARNED_FROM).await
    {
        internal(&error);
    }
    if let Err(error) = totp::encrypt_again(&app).await {
        internal(&format!("secrets of authenticator apps not encrypted again; will retry in an hour: {error:#}"));
    }
    meters::compare_budgets(app.clone()).await;
    app.counting.sweep();
}

/// Ends grace periods, announces ends of trials, and reconciles with Stripe once a day.
async fn reconcile_due(app: AppState) {
    if let Err(error) = reconcile::end_graces(&app).await {
        internal(&format!("{error:#}"));
    }
    if let Err(error) = reconcile::announce_trial_ends(&app).await {
        internal(&format!("{error:#}"));
    }
    // The last run is stored in Postgres, so that several servers together reconcile once a day.
    match store::reconciliation::last(&app.db).await {
        Ok(Some(last)) if AppState::now() - last.began_at < time::Duration::days(1) => {}
        Ok(_) => drop(reconcile_now(&app).await),
        Err(error) => drop(internal(&error)),
    }
}

/// Drops ledger months older than the configured retention, if one is set. The rollups keep their sums.
async fn drop_old_months(app: &AppState) -> anyhow::Result<()> {
    let Some(months) = app.config.ledger_months else { return Ok(()) };
    let mut first = AppState::now().date().replace_day(1)?;
    for _ in 0..months {
        first = (first - time::Duration::DAY).replace_day(1)?;
    }
    let dropped = store::ledger::drop_before(&app.db, first.midnight().assume_utc()).await?;
    if dropped > 0 {
        tracing::info!(dropped, %first, "old months of the ledger dropped");
    }
    Ok(())
}

/// Reconciles with Stripe now; does nothing if it isn't connected. Concurrent runs are harmless.
pub(crate) async fn reconcile_now(app: &AppState) -> Result<(), Problem> {
    let Some(billing) = &app.billing else { return Ok(()) };
    match reconcile::reconcile(&app.db, billing).await {
        Ok(report) => {
            tracing::info!(checked = report.checked, drift = report.drift.len(), "reconciled with Stripe");
            Ok(())
        }
        Err(error) => Err(failed(&error)),
    }
}

/// Runs `work` now and then once per `period`. A run that takes longer delays the next one.
fn every<F, Fut>(set: &mut JoinSet<()>, app: &AppState, period: Duration, work: F)
where
    F: Fn(AppState) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let app = app.clone();
    set.spawn(async move {
        let mut tick = tokio::time::interval(period);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            work(app.clone()).await;
        }
    });
}

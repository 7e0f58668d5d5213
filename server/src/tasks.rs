//! Scheduled work: ends turns of dead processes, flushes counts, maintains partitions and rollups.

use crate::AppState;
use crate::billing::reconcile;
use crate::chat::turn::caps;
use crate::error::internal;
use crate::meters::{Caps, Spent};
use domain::{Outcome, Picos, Problem, Tokens, TurnEvent, Usage, UsageSource};
use std::time::Duration;
use store::turn::{ExpiredTurn, Record, TurnContext, Unsettled};
use tokio::task::JoinSet;

/// Several servers refresh the usage report in turn, at most this often.
const REPORT_MIN_AGE: time::Duration = time::Duration::seconds(45);

/// Starts them; they end with the set.
pub(crate) fn spawn(app: &AppState) -> JoinSet<()> {
    let mut set = JoinSet::new();
    every(&mut set, app, Duration::from_secs(15), reap);
    every(&mut set, app, Duration::from_secs(1), |app| async move { app.flush_settled().await });
    every(&mut set, app, Duration::from_secs(5), |app| async move { app.flush_refusals().await });
    every(&mut set, app, Duration::from_secs(3_600), |app| async move {
        if let Err(error) = store::session::sweep(&app.jobs_db, AppState::now()).await {
            internal(&error);
        }
        if let Err(error) = store::stripe_event::sweep(&app.jobs_db, AppState::now() - time::Duration::days(30)).await {
            internal(&error);
        }
        if let Err(error) = store::ledger::make_months_ahead(&app.jobs_db, AppState::now()).await {
            internal(&error);
        }
        if let Err(error) = drop_old(&app).await {
            internal(&format!("old months of the ledger not dropped, tried again in an hour: {error:#}"));
        }
        if let Err(error) = store::model::learn(&app.jobs_db, AppState::now() - time::Duration::days(30)).await {
            internal(&error);
        }
        compare_budgets(app.clone()).await;
        app.counting.sweep();
    });
    every(&mut set, app, Duration::from_secs(600), |app| async move {
        if let Err(error) = compare_meters(&app).await {
            internal(&format!("{error:#}"));
        }
    });
    every(&mut set, app, Duration::from_secs(60), |app| async move {
        if let Err(error) = store::rollup::refresh(&app.jobs_db, REPORT_MIN_AGE).await {
            internal(&error);
        }
    });
    set.spawn(crate::alerts::work(app.clone()));
    set.spawn(crate::billing::inbox::work(app.clone()));
    set.spawn(crate::jobs::work(app.clone()));
    every(&mut set, app, Duration::from_secs(60), |app| async move {
        if let Err(error) = reconcile::end_graces(&app).await {
            internal(&format!("{error:#}"));
        }
        if let Err(error) = reconcile::announce_trial_ends(&app).await {
            internal(&format!("{error:#}"));
        }
        // The day is Postgres' to keep: servers come and go, and one of them is enough.
        match store::reconciliation::last(&app.db).await {
            Ok(Some(last)) if AppState::now() - last.began_at < time::Duration::days(1) => {}
            Ok(_) => drop(reconcile_now(&app).await),
            Err(error) => drop(internal(&error)),
        }
    });
    set
}

/// Drops the months of the ledger that the owner doesn't want to keep; what they came to stays in the sums.
async fn drop_old(app: &AppState) -> anyhow::Result<()> {
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

/// Compares the budgets with the ledger, and has those built again that differ from it. Also at the start: a cap that the environment has
/// now may not have been there before, and without one nothing is counted.
pub(crate) async fn compare_budgets(app: AppState) {
    let compared = async {
        let context = store::turn::load_turn_context(&app.db, uuid::Uuid::nil().into(), None, AppState::now()).await?;
        anyhow::Ok(app.meters.mend_budgets(&all_caps(&app, &context)).await?)
    };
    if let Err(error) = compared.await {
        internal(&format!("{error:#}"));
    }
}

/// Every cap there is.
fn all_caps(app: &AppState, context: &TurnContext) -> Caps {
    caps(app, context, context.offers.iter().map(|offer| &offer.model.name))
}

/// Compares the meters of whoever is quiet with the ledger; what differs twice is shown to the owner and rebuilt.
async fn compare_meters(app: &AppState) -> anyhow::Result<()> {
    let now = AppState::now();
    let since = now - time::Duration::hours(25);
    for subject in store::usage::quiet(&app.db, since, now).await? {
        let users = &app.meters.users;
        // One that can't be asked now is asked the next time.
        if !matches!(users.drift(&subject).await, Ok(Some(_))) {
            continue;
        }
        // A bucket may just have left the one and not yet the other.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Ok(Some(drift)) = users.drift(&subject).await else { continue };
        if !store::usage::is_quiet(&app.db, &subject, since, AppState::now()).await? {
            continue;
        }
        let total = |snapshot: &limits::Snapshot| Tokens(snapshot.window(1).used + snapshot.window(1).reserved);
        let (found, ledger) = (total(&drift.found), total(&drift.expected));
        tracing::warn!(%found, %ledger, "a meter differed from the ledger and is rebuilt");
        metrics::counter!("quotient_meter_drift_total").increment(1);
        store::usage::drifted(&app.db, &subject, found, ledger, AppState::now()).await?;
        users.forget(&subject).await?;
    }
    Ok(())
}

/// Compares with Stripe; nothing where it isn't connected. Two at once only do the same work twice.
pub(crate) async fn reconcile_now(app: &AppState) -> Result<(), Problem> {
    let Some(billing) = &app.billing else { return Ok(()) };
    match reconcile::reconcile(&app.db, billing).await {
        Ok(report) => {
            tracing::info!(checked = report.checked, drift = report.drift.len(), "compared with Stripe");
            Ok(())
        }
        Err(error) => Err(crate::billing::failed(&error)),
    }
}

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

/// Ends turns whose process has given no sign: with what their log shows was streamed, and never as complete. Takes some at a time until
/// none are left.
pub(crate) async fn reap(app: AppState) {
    loop {
        match reap_some(&app).await {
            Ok(done) if done > 0 => {}
            Ok(_) => return,
            Err(error) => {
                internal(&error);
                return;
            }
        }
    }
}

/// Ends some; how many were ended, of those that could be.
async fn reap_some(app: &AppState) -> anyhow::Result<usize> {
    // One kind that can't be read is no reason to leave the other.
    let expired = store::turn::expired(&app.db).await.inspect_err(|error| drop(internal(error)));
    let unsettled = store::turn::unsettled(&app.db, None).await.inspect_err(|error| drop(internal(error)));
    let (expired, unsettled) = (expired.unwrap_or_default(), unsettled.unwrap_or_default());
    if expired.is_empty() && unsettled.is_empty() {
        return Ok(0);
    }
    let context = store::turn::load_turn_context(&app.db, uuid::Uuid::nil().into(), None, AppState::now()).await?;
    let caps = all_caps(app, &context);
    let mut done = 0;
    for turn in expired {
        match end_expired(app, &caps, &turn).await {
            Ok(()) => done += 1,
            Err(error) => drop(internal(&error)),
        }
    }
    // Recorded, and then Redis or the process went away before the meters were told.
    for turn in unsettled {
        match settle(app, turn, &caps).await {
            Ok(()) => done += 1,
            Err(error) => drop(internal(&format!("{error:#}"))),
        }
    }
    Ok(done)
}

async fn end_expired(app: &AppState, caps: &Caps, turn: &ExpiredTurn) -> anyhow::Result<()> {
    // Without its log nobody knows what was streamed: then it waits for the next round.
    let streamed = streamed(app, turn).await?;
    let count = |text: &str| providers::estimate::answer(turn.provider, text);
    let reasoning = count(&streamed.reasoning);
    let usage =
        Usage { input: turn.estimated, output: count(&streamed.text) + reasoning, reasoning, ..Usage::default() };
    let prices = store::model::price(&app.db, &turn.model, turn.call.created_at).await?;
    let (price_id, cost) = prices.map_or((turn.price_id, Picos::ZERO), |prices| prices.price(&usage));
    let recorded = store::turn::record(
        &app.db,
        &Record {
            turn_id: turn.turn_id,
            // A conversation that is gone takes no message.
            conversation_id: turn.conversation_id,
            call: turn.call,
            model: &turn.model,
            text: &streamed.text,
            outcome: Outcome::Lost,
            usage: &usage,
            source: UsageSource::Estimated,
            price_id,
            cost,
            provider_request_id: None,
            provider_failed: false,
            ttft_ms: None,
            other_failed: false,
            now: AppState::now(),
        },
    )
    .await?;
    if recorded {
        tracing::warn!(turn = %turn.turn_id, "lost turn ended");
        metrics::counter!("quotient_turns_total", "outcome" => "lost").increment(1);
        app.relay.end(turn.turn_id, &TurnEvent::Failed { problem: Problem::lost() }).await?;
        // Of the ledger, since a hedged turn has two calls.
        for turn in store::turn::unsettled(&app.db, Some(turn.turn_id)).await? {
            settle(app, turn, caps).await?;
        }
    }
    Ok(())
}

/// Tells the meters what a turn used and cost; again does nothing.
async fn settle(app: &AppState, turn: Unsettled, caps: &Caps) -> anyhow::Result<()> {
    let spent = Spent { tokens: turn.used, costs: turn.costs };
    app.meters.settle_by_id(&turn.subject, turn.turn_id, turn.at, &spent, caps).await?;
    Ok(store::turn::settled(&app.db, &[turn.turn_id]).await?)
}

#[derive(Default)]
struct Streamed {
    text: String,
    reasoning: String,
}

/// What a dead turn's log shows.
async fn streamed(app: &AppState, turn: &ExpiredTurn) -> anyhow::Result<Streamed> {
    let mut streamed = Streamed::default();
    for entry in app.relay.so_far(turn.turn_id).await? {
        match entry.event() {
            Some(TurnEvent::Delta { text }) => streamed.text.push_str(&text),
            Some(TurnEvent::Reasoning { text }) => streamed.reasoning.push_str(&text),
            _ => {}
        }
    }
    Ok(streamed)
}

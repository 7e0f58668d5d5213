//! Runs an opened turn to its end: stream, close, record, settle, finish. It belongs to the server, so a closed tab doesn't affect it.

use super::answer::{Answer, Ending};
use super::state::{ActiveTurn, RunningTurn, with_other_call};
use super::stream::stream;
use crate::AppState;
use crate::failure::internal;
use domain::{Picos, Problem, Tokens, TurnEvent, TurnId, Usage, UsageSource, Viewer};
use limits::Snapshot;
use providers::estimate;
use quota::{Reservation, Spent, quota_of};
use std::time::Duration;
use store::turn::Record;

/// Maximum number of attempts to record a turn in Postgres. After that the reaper ends it.
const RECORD_TRIES: u32 = 6;

/// Runs a turn to its end.
pub(super) async fn run(app: AppState, mut running: RunningTurn) {
    // Stream.
    let answer = stream(&app, &mut running).await;
    let RunningTurn { turn, mut log, .. } = running;
    crate::fault::point("done-unrecorded");
    // Close.
    let (usage, source) = close(&turn, &answer);
    let (price_id, cost) = turn.price.price(&usage);
    // Record: Postgres is the source of truth.
    let end = Record {
        turn_id: turn.turn_id,
        conversation_id: Some(turn.conversation_id),
        call: turn.call,
        model: &turn.model.name,
        text: &answer.text,
        outcome: answer.outcome(),
        usage: &usage,
        source,
        price_id,
        cost,
        provider_request_id: answer.request_id.as_deref(),
        provider_failed: answer.provider_failed(),
        ttft_ms: answer.ttft_ms,
        other_failed: turn.other.as_ref().is_some_and(|other| other.has_failed),
        now: AppState::now(),
    };
    let recorded = record(&app, &end).await;
    crate::fault::point("recorded-unsettled");
    metrics::counter!("quotient_turns_total", "outcome" => answer.outcome().as_str()).increment(1);
    let last = match recorded {
        Ok(()) => {
            // Settle the meters.
            let before = turn.reservation.permit.snapshot().clone();
            let spent = with_other_call(Spent::on(usage.counted(), turn.model.name, cost), turn.other);
            let total = spent.costs.iter().fold(Picos::ZERO, |sum, (_, cost)| sum.plus(*cost));
            let snapshot = settle(&app, turn.turn_id, turn.reservation, &spent).await.unwrap_or(before);
            // Finish.
            final_event(&turn.viewer, &answer, usage, source, total, &snapshot)
        }
        // The reaper will end this turn as lost, so the client must not see it as finished.
        Err(problem) => TurnEvent::Failed { problem },
    };
    log.append(&[last]).await;
}

/// Settles the meters. If this fails, the reaper settles them later.
async fn settle(app: &AppState, turn_id: TurnId, reservation: Reservation, spent: &Spent) -> Option<Snapshot> {
    let settled = app.quotas.settle(reservation, spent).await;
    let snapshot = settled.inspect_err(|error| tracing::warn!(%error, turn = %turn_id, "not settled yet")).ok()?;
    app.note_settled(turn_id);
    Some(snapshot)
}

/// Returns the provider's token counts if it completed the response, otherwise an estimate of what was sent and streamed (field notes 20 to
/// 22). An estimate is never below what was streamed, nor above what the turn had reserved (field note 102).
fn close(turn: &ActiveTurn, answer: &Answer) -> (Usage, UsageSource) {
    let ended = matches!(answer.ending, Some(Ending::Ended(_)));
    if let Some(usage) = answer.usage.filter(|usage| ended && usage.output > Tokens(0)) {
        return (usage, UsageSource::Exact);
    }
    let mut usage = answer.usage.unwrap_or_default();
    // Some providers report no input tokens, or zero, before the end.
    if usage.prompt() == Tokens(0) {
        usage.input = turn.estimated;
    }
    let reasoning = estimate::answer(turn.model.provider, &answer.reasoning);
    let streamed = estimate::answer(turn.model.provider, &answer.text) + reasoning;
    let taken = usage.prompt() + turn.other_input;
    let reserved = Tokens(turn.reservation.permit.reserved().saturating_sub(taken.0));
    usage.output = usage.output.max(streamed.min(reserved));
    usage.reasoning = usage.reasoning.max(reasoning).min(usage.output);
    (usage, UsageSource::Estimated)
}

/// Records the end of a turn, retrying while Postgres is unavailable. Returns the problem shown to the user if it can't be recorded, or if
/// another server considered this turn dead and ended it.
async fn record(app: &AppState, end: &Record<'_>) -> Result<(), Problem> {
    let mut problem = Problem::overloaded();
    for tried in 0..RECORD_TRIES {
        match store::turn::record(&app.db, end).await {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(Problem::lost()),
            Err(error) => problem = internal(&error),
        }
        // During shutdown there is no time to wait; another server's reaper ends the turn.
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(250 << tried)) => {}
            () = app.cancel_turns.cancelled() => break,
        }
    }
    Err(Problem::not_recorded(problem.incident))
}

fn final_event(
    viewer: &Viewer,
    answer: &Answer,
    usage: Usage,
    source: UsageSource,
    cost: Picos,
    snapshot: &Snapshot,
) -> TurnEvent {
    if let Some(problem) = answer.problem() {
        return TurnEvent::Failed { problem };
    }
    TurnEvent::Finish {
        outcome: answer.outcome(),
        usage,
        usage_source: source,
        cost_usd: viewer.plan.shows_cost.then(|| cost.exact()),
        quota: quota_of(&viewer.plan, snapshot),
    }
}

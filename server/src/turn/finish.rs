//! Runs an opened turn to its end: stream, close, record, settle, finish. It belongs to the server, so a closed tab doesn't affect it.

use super::answer::Answer;
use super::close::{Grant, Uncounted, close, close_ended};
use super::drain;
use super::html::render_answer;
use super::record::{Retries, SettledTurn, record, settle};
use super::state::{ActiveTurn, RunningTurn};
use super::stream::stream;
use super::title;
use crate::AppState;
use crate::failure::internal;
use domain::{Picos, Quota, TurnEvent, Usage, UsageSource};
use providers::Chunks;
use quota::quota_of;
use relay::Writer;
use store::turn::AnswerMessage;

/// Runs a turn to its end.
pub(super) async fn run(app: AppState, mut running: RunningTurn) {
    // Stream.
    let answer = stream(&app, &mut running).await;
    let RunningTurn { turn, chunks, log, untitled, .. } = running;
    crate::fault::point("done-unrecorded");
    // Dropping the chunks cancels the call.
    match drain::is_due(&turn.model, &answer).then_some(chunks) {
        None => {
            finish(&app, turn, &answer, log).await;
            if let Some(untitled) = untitled {
                title::write_later(&app, untitled, &answer);
            }
        }
        Some(rest) => finish_and_drain(&app, turn, answer, rest, log).await,
    }
}

/// Closes, records and settles a turn, and then ends its log.
async fn finish(app: &AppState, turn: ActiveTurn, answer: &Answer, mut log: Writer) {
    // Close.
    let (usage, source) = close_ended(&turn, answer);
    // Record: Postgres is the source of truth.
    let recorded = record(app, &turn, Some(turn.conversation_id), answer, (usage, source), Retries::Waited).await;
    crate::fault::point("recorded-unsettled");
    let last = match (recorded, answer.problem()) {
        (Ok(cost), problem) => {
            // Settle the meters.
            let SettledTurn { viewer, cost, snapshot } = settle(app, turn, usage, cost).await;
            let cost = viewer.plan.shows_cost.then_some(cost);
            let quota = quota_of(&viewer.plan, &snapshot);
            match problem {
                None => finish_event(answer, (usage, source), cost, quota),
                Some(problem) => TurnEvent::Failed { problem },
            }
        }
        // The reaper will end this turn as lost, so the client must not see it as finished.
        (Err(problem), _) => TurnEvent::Failed { problem },
    };
    log.append(&[last]).await;
}

/// Ends the log of a stopped turn at once, with its usage so far, and records the turn when the rest of its call has been read.
async fn finish_and_drain(app: &AppState, turn: ActiveTurn, mut answer: Answer, rest: Chunks, mut log: Writer) {
    let (so_far, source) = close(Grant::of(&turn), &answer, Uncounted::Streamed);
    let is_written = write_answer(app, &turn, &answer).await;
    let other = turn.other.as_ref().map_or(Picos::ZERO, |other| other.cost);
    let cost = turn.viewer.plan.shows_cost.then(|| turn.price.price(&so_far).1.plus(other));
    let held = || quota_of(&turn.viewer.plan, turn.reservation.permit.snapshot());
    let quota = app.quotas.quota(&turn.viewer).await.unwrap_or_else(|_| held());
    log.append(&[finish_event(&answer, (so_far, source), cost, quota)]).await;
    // Ends the log for followers on other servers.
    drop(log);
    drain::read(app, &turn, rest, &mut answer.receipt).await;
    let (usage, source) = close_ended(&turn, &answer);
    let conversation_id = (!is_written).then_some(turn.conversation_id);
    // A problem is logged; the reaper then ends this turn as lost, with the text that was streamed.
    if let Ok(cost) = record(app, &turn, conversation_id, &answer, (usage, source), Retries::Waited).await {
        settle(app, turn, usage, cost).await;
    }
}

/// Stores the response of a turn whose ledger row is still pending. Returns whether that worked; otherwise it is stored with the row.
async fn write_answer(app: &AppState, turn: &ActiveTurn, answer: &Answer) -> bool {
    let html = render_answer(app, &answer.text, turn.turn_id).await;
    let message = AnswerMessage {
        turn_id: turn.turn_id,
        conversation_id: turn.conversation_id,
        model: &turn.model.name,
        text: &answer.text,
        html: html.as_ref(),
        reasoning: &answer.reasoning,
        status: answer.message_status(),
        admitted_at: turn.call.created_at,
        now: AppState::now(),
    };
    let written = store::turn::write_answer(&app.db, &message).await;
    written.inspect_err(|error| drop(internal(error))).is_ok()
}

fn finish_event(
    answer: &Answer,
    (usage, usage_source): (Usage, UsageSource),
    cost: Option<Picos>,
    quota: Quota,
) -> TurnEvent {
    TurnEvent::Finish { outcome: answer.outcome(), usage, usage_source, cost_usd: cost.map(|cost| cost.exact()), quota }
}

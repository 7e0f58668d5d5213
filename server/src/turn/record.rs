//! Records the end of a turn in Postgres and settles its meters.

use super::answer::Answer;
use super::html::render_answer;
use super::state::{ActiveTurn, with_other_call};
use crate::AppState;
use crate::failure::internal;
use domain::{ConversationId, Picos, Problem, Usage, UsageSource, Viewer};
use limits::Snapshot;
use quota::Spent;
use std::time::Duration;
use store::turn::Record;

/// Longest pause between two attempts to record a turn.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How long recording a turn is retried while Postgres is unavailable. After that the reaper ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retries {
    /// Not at all.
    None,
    /// As long as a user waits for the end of a response: 8 seconds.
    Waited,
    /// 10 minutes: no user waits, and only this server has the usage.
    Background,
}

impl Retries {
    /// Returns the maximum number of attempts.
    fn attempts(self) -> u32 {
        match self {
            Self::None => 1,
            Self::Waited => 6,
            Self::Background => 150,
        }
    }
}

/// Records the end of a turn and returns its cost. Without a conversation no message is stored. If another server found its lease
/// expired and ended it with an estimate, the exact usage is added as a correction.
///
/// # Errors
/// Returns the problem shown to the user if it can't be recorded, or if another server has ended this turn.
pub(super) async fn record(
    app: &AppState,
    turn: &ActiveTurn,
    conversation_id: Option<ConversationId>,
    answer: &Answer,
    (usage, source): (Usage, UsageSource),
    retries: Retries,
) -> Result<Picos, Problem> {
    let (price_id, cost) = turn.price.price(&usage);
    // Without a conversation there is no message to render.
    let html = match conversation_id {
        Some(_) => render_answer(app, &answer.text, turn.turn_id).await,
        None => None,
    };
    let end = Record {
        turn_id: turn.turn_id,
        conversation_id,
        call: turn.call,
        model: &turn.model.name,
        text: &answer.text,
        html: html.as_ref(),
        reasoning: &answer.reasoning,
        message_status: answer.message_status(),
        outcome: answer.outcome(),
        usage: &usage,
        source,
        price_id,
        cost,
        provider_request_id: answer.receipt.request_id.as_deref(),
        provider_failed: answer.provider_failed(),
        ttft_ms: answer.ttft_ms,
        other_failed: turn.other.as_ref().is_some_and(|other| other.has_failed),
        now: AppState::now(),
    };
    if !write(app, &end, retries).await? {
        if source == UsageSource::Exact {
            correct(app, turn, &end).await;
        }
        return Err(Problem::lost());
    }
    metrics::counter!("quotient_turns_total", "outcome" => answer.outcome().as_str()).increment(1);
    Ok(cost)
}

/// Writes a turn's end, retrying while Postgres is unavailable. Returns false if its ledger row was already final.
async fn write(app: &AppState, end: &Record<'_>, retries: Retries) -> Result<bool, Problem> {
    let (mut problem, mut pause) = (Problem::overloaded(), Duration::from_millis(250));
    for tried in 1..=retries.attempts() {
        match store::turn::record(&app.db, end).await {
            Ok(is_recorded) => return Ok(is_recorded),
            Err(error) => problem = internal(&error),
        }
        if tried == retries.attempts() {
            break;
        }
        // During shutdown there is no time to wait; another server's reaper ends the turn.
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = app.cancel_turns.cancelled() => break,
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
    Err(Problem::not_recorded(problem.incident))
}

/// Corrects the estimate of a turn that another server has ended, and discards its meters, which have counted the estimate and are rebuilt
/// from the ledger. If this fails, the estimate stays.
async fn correct(app: &AppState, turn: &ActiveTurn, end: &Record<'_>) {
    match store::turn::correct_lost(&app.db, end).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => return drop(internal(&error)),
    }
    tracing::info!(turn = %turn.turn_id, "usage of a lost turn corrected");
    if let Err(error) = app.quotas.rebuild(&turn.reservation).await {
        // Meters that differ from the ledger are found and rebuilt by a job.
        tracing::warn!(%error, turn = %turn.turn_id, "meters of a corrected turn not rebuilt yet");
    }
}

/// Records the end of a call that answers no message of a conversation, and settles its meters. If settling fails, the reaper does it later.
///
/// # Errors
/// Returns an error in the same cases as [`record`].
pub(super) async fn record_call(
    app: &AppState,
    turn: ActiveTurn,
    answer: &Answer,
    (usage, source): (Usage, UsageSource),
) -> Result<(), Problem> {
    let cost = record(app, &turn, None, answer, (usage, source), Retries::Waited).await?;
    settle(app, turn, usage, cost).await;
    Ok(())
}

/// A turn after its meters were settled.
pub(super) struct SettledTurn {
    pub viewer: Viewer,
    /// Cost of all its calls.
    pub cost: Picos,
    /// The user's meter.
    pub snapshot: Snapshot,
}

/// Settles the meters of a recorded turn. If this fails, the reaper settles them later.
pub(super) async fn settle(app: &AppState, turn: ActiveTurn, usage: Usage, cost: Picos) -> SettledTurn {
    let ActiveTurn { viewer, turn_id, model, other, reservation, .. } = turn;
    let before = reservation.permit.snapshot().clone();
    let spent = with_other_call(Spent::on(usage.counted(), model.name, cost), other);
    let cost = spent.costs.iter().fold(Picos::ZERO, |sum, (_, cost)| sum.plus(*cost));
    let snapshot = match app.quotas.settle(reservation, &spent).await {
        Ok(snapshot) => {
            app.note_settled(turn_id);
            snapshot
        }
        Err(error) => {
            tracing::warn!(%error, turn = %turn_id, "not settled yet");
            before
        }
    };
    SettledTurn { viewer, cost, snapshot }
}

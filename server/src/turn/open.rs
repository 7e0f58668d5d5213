//! Opens the provider's stream of a written turn: its model's, or its fallback's. If no provider accepts the call, the turn is undone.

use super::attempt::{Failed, Interruption, attempt};
use super::drain;
use super::hedge;
use super::not_opened::NotOpened;
use super::providers::cache_marks;
use super::state::{OpenedTurn, PendingTurn};
use super::undo::{Bill, undo};
use crate::AppState;
use crate::failure::{Failure, internal};
use domain::{Problem, Tokens};
use relay::Writer;
use store::turn::FallbackCall;
use tokio::time::Instant;

/// Opens the stream of the turn's model, or of its fallback.
pub(super) async fn open(app: &AppState, mut pending: PendingTurn, log: &Writer) -> Result<OpenedTurn, Failure> {
    let opening = if let Some(after) = pending.hedge_after {
        hedge::open(app, &mut pending, after, log).await
    } else {
        let sent = Instant::now();
        attempt(app, &pending, log).await.map(|chunks| (sent, chunks))
    };
    let failed = match opening {
        Ok((sent, chunks)) => return Ok(OpenedTurn { turn: pending.turn, sent, chunks }),
        Err(Failed::Provider(error)) if allows_fallback(&pending, &error) => {
            if fall_back(app, &mut pending, error.was_called()).await {
                tracing::warn!(?error, model = %pending.turn.model.name, "fallback model is called");
                metrics::counter!("quotient_fallbacks_total").increment(1);
                let sent = Instant::now();
                match attempt(app, &pending, log).await {
                    Ok(chunks) => return Ok(OpenedTurn { turn: pending.turn, sent, chunks }),
                    Err(failed) => failed,
                }
            } else {
                Failed::Provider(error)
            }
        }
        Err(failed) => failed,
    };
    Err(give_up(app, pending, failed).await.into())
}

/// Returns whether the fallback may be called in place of a call that failed.
fn allows_fallback(pending: &PendingTurn, error: &NotOpened) -> bool {
    match pending.api {
        Some(_) => error.allows_fallback_for_api(),
        None => error.allows_fallback(),
    }
}

/// Undoes a turn whose response never began, and returns the problem shown to the user.
async fn give_up(app: &AppState, pending: PendingTurn, failed: Failed) -> Problem {
    let (problem, bill, provider_failed) = match failed {
        Failed::Provider(error) => {
            let other = pending.turn.other.as_ref().map(|other| other.estimated).unwrap_or_default();
            let bill = match (error.may_be_billed(), error.was_called()) {
                (true, _) => Bill::Input,
                (false, true) => Bill::Request,
                (false, false) => Bill::Nothing,
            };
            let estimated = pending.turn.estimated + other;
            let model = &pending.turn.model;
            match &pending.api {
                Some(_) => (error.problem_for_api(model, estimated), bill, error.is_failure_for_api()),
                None => (error.problem(model, estimated), bill, error.is_failure()),
            }
        }
        Failed::Interrupted(Interruption { cause, opening: Some(opening), .. }) => {
            drain::withdraw(app, pending, opening).await;
            return cause.problem();
        }
        Failed::Interrupted(Interruption { cause, may_be_billed: true, .. }) => (cause.problem(), Bill::Input, false),
        Failed::Interrupted(Interruption { cause, .. }) => (cause.problem(), Bill::Request, false),
    };
    undo(app, pending, bill, provider_failed).await;
    problem
}

/// Closes the failed call and writes one of the fallback's. Returns `false` if there is no fallback.
async fn fall_back(app: &AppState, pending: &mut PendingTurn, provider_failed: bool) -> bool {
    let Some(fallback) = pending.fallback.take() else { return false };
    let fallback_call = FallbackCall {
        turn_id: pending.turn.turn_id,
        failed: pending.turn.call,
        provider_failed,
        model: &fallback.model.name,
        price_id: fallback.price.tier(fallback.estimated).id,
        estimated: fallback.estimated,
        cache_marks: cache_marks(pending.api.as_deref(), &fallback.model, &fallback.price, fallback.estimated),
        now: AppState::now(),
    };
    match store::turn::add_fallback_call(&app.db, &fallback_call).await {
        Ok(Some(call)) => {
            pending.switch_to_fallback(fallback, call, Tokens(0));
            true
        }
        // The reaper has ended this turn.
        Ok(None) => false,
        Err(error) => {
            internal(&error);
            false
        }
    }
}

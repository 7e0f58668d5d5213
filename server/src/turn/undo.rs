//! Undoes a turn that no provider accepted.

use super::state::{ActiveTurn, PendingTurn, with_other_call};
use crate::AppState;
use crate::failure::internal;
use domain::Usage;
use quota::{Reservation, Spent};

/// What a failed call may have cost.
pub(super) enum Bill {
    /// The provider wasn't called.
    Nothing,
    /// The provider refused the call. It cost nothing but counts as a request, so that refusals don't bypass the limit (field note 100).
    Request,
    /// The call was sent and its provider may have begun: at least the input, estimated.
    Input,
}

/// Undoes a written turn. What it may have cost is recorded as an estimate.
pub(super) async fn undo(app: &AppState, pending: PendingTurn, bill: Bill, provider_failed: bool) {
    let PendingTurn { turn, started_conversation, .. } = pending;
    let usage = match bill {
        Bill::Nothing | Bill::Request => None,
        Bill::Input => Some(Usage::of_uncounted_prompt(turn.estimated, turn.cache_marks)),
    };
    let cost = usage.map(|usage| turn.price.price(&usage).1).unwrap_or_default();
    let undone = store::turn::UndoneTurn {
        turn_id: turn.turn_id,
        conversation_id: turn.conversation_id,
        started_conversation,
        call: turn.call,
        provider_failed,
        usage,
        cost,
        now: AppState::now(),
    };
    if let Err(error) = store::turn::undo(&app.db, &undone).await {
        // The row stays pending, and so does its hold; the reaper ends both.
        internal(&error);
        return;
    }
    let ActiveTurn { turn_id, model, other, reservation, .. } = turn;
    let is_settled = match (bill, other) {
        (Bill::Nothing, None) => release(app, reservation).await,
        (_, other) => {
            let used = usage.map(|usage| usage.counted()).unwrap_or_default();
            let spent = with_other_call(Spent::on(used, model.name, cost), other);
            app.quotas.settle(reservation, &spent).await.is_ok()
        }
    };
    // Otherwise the ended turn is kept, and the reaper settles its hold.
    if is_settled && let Err(error) = store::turn::delete_undone(&app.db, turn_id).await {
        internal(&error);
    }
}

/// Releases a reservation. Returns `false` if that failed; its holds then lapse.
pub(super) async fn release(app: &AppState, reservation: Reservation) -> bool {
    app.quotas.release(reservation).await.inspect_err(|error| tracing::warn!(%error, "hold not released")).is_ok()
}

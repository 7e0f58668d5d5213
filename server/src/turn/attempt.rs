//! One attempt to open a provider's stream.

use super::lease::{FIRST_BEAT, renew_lease};
use super::providers::NotOpened;
use super::state::PendingTurn;
use crate::AppState;
use domain::Problem;
use providers::Chunks;
use relay::Writer;
use std::sync::atomic::{AtomicBool, Ordering};

/// The reason an attempt failed.
pub(super) enum Failed {
    /// The provider failed or refused the call.
    Provider(NotOpened),
    /// The turn was stopped or may not continue. The flag tells whether its request is outstanding, so that it may be billed.
    Interrupted(Problem, bool),
}

/// Calls the turn's current model. Until its response begins, renews the turn's lease and listens for a stop.
pub(super) async fn attempt(app: &AppState, pending: &PendingTurn, log: &Writer) -> Result<Chunks, Failed> {
    let outstanding = AtomicBool::default();
    let messages = &pending.prompt.messages;
    let opening = app.providers.open(
        &pending.turn.reservation.permit,
        &pending.turn.model,
        messages,
        pending.turn.max_output,
        &outstanding,
    );
    tokio::select! {
        opened = opening => {
            crate::fault::point("sent");
            opened.map_err(Failed::Provider)
        }
        problem = interrupted(app, pending, log) => Err(Failed::Interrupted(problem, outstanding.load(Ordering::Relaxed))),
    }
}

/// Renews the turn's lease. Returns the problem once the turn is stopped or may not continue.
pub(super) async fn interrupted(app: &AppState, pending: &PendingTurn, log: &Writer) -> Problem {
    tokio::select! {
        () = log.stopped() => Problem::stopped(),
        () = app.cancel_turns.cancelled() => Problem::restarting(),
        // A provider may take longer to begin than a lease lasts. Another server then considered this turn dead and ended it.
        () = renew_lease(app, pending.turn.turn_id, &pending.turn.reservation, FIRST_BEAT) => Problem::lost(),
    }
}

//! The lease of a turn: while it is renewed, no other server ends the turn.

use crate::AppState;
use domain::TurnId;
use quota::Reservation;
use std::time::Duration;
use tokio::time::Instant;

/// Interval of a running turn's heartbeat.
const BEAT: Duration = Duration::from_secs(10);
/// Delay of the first heartbeat. An unconfirmed hold lapses after ten seconds.
pub(super) const FIRST_BEAT: Duration = Duration::from_secs(3);

/// Renews a turn's lease and confirms its holds, first after `first`, then every ten seconds. Returns only once another server has ended
/// the turn.
pub(super) async fn renew_lease(app: &AppState, turn_id: TurnId, reservation: &Reservation, first: Duration) {
    let mut beat = tokio::time::interval_at(Instant::now() + first, BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        if !heartbeat(app, turn_id, reservation).await {
            return;
        }
    }
}

/// Renews the lease and confirms the holds. Returns `false` if the turn was ended by another server. Missing holds are rebuilt from the
/// ledger: Redis was flushed, or unavailable for so long that they lapsed.
async fn heartbeat(app: &AppState, turn_id: TurnId, reservation: &Reservation) -> bool {
    let confirmed = match app.quotas.confirm(reservation).await {
        Ok(false) => app.quotas.rebuild(reservation).await,
        result => result.map(drop),
    };
    if let Err(error) = confirmed {
        tracing::warn!(%error, turn = %turn_id, "failed to confirm holds");
    }
    store::turn::renew_lease(&app.db, turn_id).await.unwrap_or_else(|error| {
        tracing::warn!(%error, turn = %turn_id, "failed to renew the lease");
        true
    })
}

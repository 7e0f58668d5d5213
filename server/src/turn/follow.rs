//! Follows the events of a turn that exists: for a repeated request, a reload, or another device.

use super::request::ChatRequest;
use crate::AppState;
use crate::failure::Failure;
use domain::{Problem, ProblemKind, TurnId, Viewer};
use relay::Tail;
use std::time::Duration;
use store::turn::ExistingTurn;
use tokio::time::Instant;

/// Time that a duplicate request waits for the first one's events to begin.
const FOLLOW: Duration = Duration::from_secs(60);
/// Time that it waits for a turn that was admitted but isn't written. By then its hold has lapsed, and it may be sent again.
const UNWRITTEN: Duration = Duration::from_secs(11);

/// Returns whether this user sent this request before.
///
/// # Errors
/// Returns a problem if the turn belongs to another user or has a different body.
pub(super) fn is_same(
    known: Option<&ExistingTurn>,
    viewer: &Viewer,
    chat_request: &ChatRequest,
) -> Result<bool, Failure> {
    match known {
        None => Ok(false),
        Some(known) if known.user_id != Some(viewer.user_id) => Err(Problem::not_found("response").into()),
        Some(known) if known.request_hash != chat_request.hash => Err(Problem::new(
            ProblemKind::Conflict,
            "This turn_id was already used for another message. Send it with a new one.",
        )
        .into()),
        Some(_) => Ok(true),
    }
}

/// Returns the events of this user's turn from the first one. Refuses a turn of another user or with a different body.
pub(super) async fn follow(app: &AppState, viewer: &Viewer, chat_request: &ChatRequest) -> Result<Tail, Failure> {
    let tail = tail(app, chat_request.turn_id, 0).await?;
    let known = store::turn::find(&app.db, chat_request.turn_id).await?;
    is_same(known.as_ref(), viewer, chat_request)?;
    Ok(tail)
}

/// Returns a turn's events after an event id. Waits for them while the turn is being started.
pub(crate) async fn tail(app: &AppState, turn_id: TurnId, after: u64) -> Result<Tail, Failure> {
    let (began, mut was_written) = (Instant::now(), false);
    loop {
        if let Some(tail) = app.relay.tail(turn_id, after).await? {
            return Ok(tail);
        }
        // Admitted or written, without a first event yet: another request is starting the turn.
        match store::turn::find(&app.db, turn_id).await? {
            // The turn was undone, or never written.
            None if was_written || began.elapsed() > UNWRITTEN => return Err(Problem::model_unavailable(1_000).into()),
            Some(turn) if turn.ended => {
                // It may have begun and ended since its log was read.
                let tail = app.relay.tail(turn_id, after).await?;
                return tail.ok_or_else(|| {
                    let message = "This response has ended. Reload the conversation to read it.";
                    Problem::new(ProblemKind::Gone, message).into()
                });
            }
            // The server of this turn has crashed and nothing was streamed, so there is nothing to wait for.
            Some(turn) if !turn.is_alive || began.elapsed() > FOLLOW => {
                return Err(Problem::new(
                    ProblemKind::Gone,
                    "This response was interrupted before it began. Send your message again.",
                )
                .into());
            }
            found => {
                was_written = found.is_some();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

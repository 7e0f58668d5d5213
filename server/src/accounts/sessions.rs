//! The list of a user's sessions: ending one, or all others.

use super::activity;
use super::client::ClientInfo;
use crate::AppState;
use crate::failure::Failure;
use domain::{Problem, SecurityEvent, Viewer};
use uuid::Uuid;

/// Ends one of the viewer's sessions. Every server refuses its next request, and its streams end within a second.
///
/// # Errors
/// Returns a not-found problem if the viewer has no such session.
pub(crate) async fn end(app: &AppState, client: &ClientInfo, viewer: &Viewer, session_id: Uuid) -> Result<(), Failure> {
    if !store::session::end(&app.db, viewer.user_id, session_id).await? {
        return Err(Problem::not_found("session").into());
    }
    activity::record(app, Some(viewer.user_id), SecurityEvent::SessionEnded, client).await;
    Ok(())
}

/// Ends all of the viewer's sessions except the one with this token.
///
/// # Errors
/// Returns a failure if the query fails.
pub(crate) async fn end_others(
    app: &AppState,
    client: &ClientInfo,
    viewer: &Viewer,
    token_hash: &[u8],
) -> Result<(), Failure> {
    if store::session::end_others(&app.db, viewer.user_id, token_hash).await? > 0 {
        activity::record(app, Some(viewer.user_id), SecurityEvent::SessionEnded, client).await;
    }
    Ok(())
}

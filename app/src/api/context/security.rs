//! Loads a user's sessions and recent activity.

use super::{PageState, Refusal};
use crate::components::browser_name::browser_name;
use crate::view::data::DataView;
use crate::view::security::{Activity, SecurityView, SessionView};
use domain::Viewer;
use time::Duration;

/// Maximum age of a proof of identity that a sensitive change accepts, as in the server's `confirm`.
const RECENT: Duration = Duration::minutes(10);
/// Maximum number of events on the page.
const EVENTS: usize = 50;

/// Loads a user's sessions and recent activity. The session with this hash is the current one.
pub(crate) async fn security_of(
    state: &PageState,
    user: &Viewer,
    session_hash: &[u8],
) -> Result<SecurityView, Refusal> {
    let fail = |error| state.fail(error);
    let now = (state.now)();
    let rows = store::session::list(&state.db, user.user_id, now).await.map_err(fail)?;
    let mut sessions: Vec<SessionView> = rows
        .into_iter()
        .map(|row| SessionView {
            session_id: row.session_id.to_string(),
            browser: browser_name(&row.user_agent),
            created_at: row.created_at,
            last_seen_at: row.last_seen_at,
            is_current: row.is_current(session_hash),
        })
        .collect();
    sessions.sort_by_key(|session| (!session.is_current, std::cmp::Reverse(session.last_seen_at)));
    let events = store::security_event::list(&state.db, user.user_id, now - Duration::days(30)).await.map_err(fail)?;
    let activity = events
        .into_iter()
        .take(EVENTS)
        .map(|row| Activity { event: row.kind, browser: browser_name(&row.user_agent), at: row.created_at })
        .collect();
    Ok(SecurityView { now, sessions, activity })
}

/// Loads how a user confirms the deletion of their account.
pub(crate) async fn data_of(state: &PageState, user: &Viewer) -> Result<DataView, Refusal> {
    let has_password =
        store::account::has_password(&state.db, user.user_id).await.map_err(|error| state.fail(error))?;
    let now = (state.now)();
    Ok(DataView { has_password, is_confirmed: user.authenticated_at.is_some_and(|at| now - at <= RECENT) })
}

//! Loads a user's ways to sign in, sessions and recent activity.

use super::identity::connections;
use super::{PageState, Refusal};
use crate::components::browser_name::browser_name;
use crate::view::factors::{FactorsView, PasskeyView};
use crate::view::security::{Activity, SecurityView, SessionView};
use domain::Viewer;
use time::Duration;

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
    Ok(SecurityView { now, sessions, factors: factors_of(state, user).await?, activity })
}

/// Loads a user's ways to sign in.
pub(crate) async fn factors_of(state: &PageState, user: &Viewer) -> Result<FactorsView, Refusal> {
    let fail = |error| state.fail(error);
    let methods = store::account::sign_in_methods(&state.db, user.user_id).await.map_err(fail)?;
    let passkeys = store::passkey::list(&state.db, user.user_id).await.map_err(fail)?;
    Ok(FactorsView {
        has_password: methods.has_password,
        is_recent: user.has_recent_proof((state.now)()),
        connections: connections(state, user).await?,
        has_totp: methods.has_totp,
        recovery_codes: store::recovery_code::count_left(&state.db, user.user_id).await.map_err(fail)?,
        passkeys: passkeys
            .into_iter()
            .map(|row| PasskeyView {
                passkey_id: row.passkey_id.to_string(),
                name: row.name,
                created_at: row.created_at,
                last_used_at: row.last_used_at,
            })
            .collect(),
    })
}

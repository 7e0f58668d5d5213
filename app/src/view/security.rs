//! A user's ways to sign in, sessions and recent activity.

use super::factors::FactorsView;
use domain::SecurityEvent;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A user's ways to sign in, sessions and recent activity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityView {
    /// The time at which this was loaded.
    pub now: OffsetDateTime,
    /// Sessions: the current one, and then the most recently used.
    pub sessions: Vec<SessionView>,
    /// How the user can sign in.
    pub factors: FactorsView,
    /// Security events of the last thirty days, newest first.
    pub activity: Vec<Activity>,
}

/// A session in one browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its public id, which reveals nothing about its token.
    pub session_id: String,
    /// Browser and operating system.
    pub browser: String,
    /// When the user signed in.
    pub created_at: OffsetDateTime,
    /// The last use, to the hour.
    pub last_seen_at: OffsetDateTime,
    /// Whether it is the session of this request.
    pub is_current: bool,
}

/// An event of the account's recent activity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// What happened.
    pub event: SecurityEvent,
    /// Browser and operating system.
    pub browser: String,
    /// When it happened.
    pub at: OffsetDateTime,
}

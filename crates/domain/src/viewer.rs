//! The signed-in user.

use crate::{Plan, UserId};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

/// Maximum age of the last proof of identity for changes that an unattended browser must not allow.
const RECENT: Duration = Duration::minutes(10);

/// The signed-in user of a request, with their plan. Loaded in one query at the start of every request and never cached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewer {
    /// The user's id.
    pub user_id: UserId,
    /// The email address that they sign in with.
    pub email: String,
    /// The display name; may be empty.
    pub name: String,
    /// Whether they can access `/admin`.
    pub is_admin: bool,
    /// Whether an admin has paused the account, so that they can read but not send.
    pub is_paused: bool,
    /// The time zone in which their days begin: a name from the time zone database, such as `Asia/Kathmandu`.
    pub time_zone: String,
    /// Keyed hash that identifies their meters and ledger rows. Until their address is verified it belongs to the account, then to the
    /// address, and outlives the account.
    pub subject: String,
    /// Their plan.
    pub plan: Plan,
    /// While a payment is overdue: until when the plan is kept.
    pub grace_until: Option<OffsetDateTime>,
    /// Whether they have proved that the email address is theirs. Models that cost money require it.
    pub is_verified: bool,
    /// When they last proved who they are in this session. `None` if they haven't since the session began or if the user was loaded without
    /// a session.
    pub authenticated_at: Option<OffsetDateTime>,
    /// Whether they have proved two factors in this session.
    pub is_two_factor: bool,
}

impl Viewer {
    /// Returns the name to greet them with: the display name, or the part of the email address before the @.
    #[must_use]
    pub fn display_name(&self) -> &str {
        match self.name.trim() {
            "" => self.email.split('@').next().unwrap_or(&self.email),
            name => name,
        }
    }

    /// Returns whether they proved who they are within the last ten minutes of this session.
    #[must_use]
    pub fn has_recent_proof(&self, now: OffsetDateTime) -> bool {
        self.authenticated_at.is_some_and(|at| now - at <= RECENT)
    }
}

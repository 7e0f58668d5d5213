//! The signed-in user.

use crate::{Plan, UserId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A signed-in user, their plan with them: read in one query at the start of every request, never cached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewer {
    /// The account.
    pub user_id: UserId,
    /// The address they sign in with.
    pub email: String,
    /// What they want to be called; may be empty.
    pub name: String,
    /// Whether they see `/admin`.
    pub is_admin: bool,
    /// Whether an admin lets them read and not ask.
    pub is_paused: bool,
    /// Where their days begin: a name of the time zone database, such as `Asia/Kathmandu`.
    pub time_zone: String,
    /// Keyed hash of the address at sign-up: names their meters and ledger rows, and outlives the account.
    pub subject: String,
    /// What they may use.
    pub plan: Plan,
    /// While a payment is overdue: how long the plan is kept nevertheless.
    pub grace_until: Option<OffsetDateTime>,
}

impl Viewer {
    /// The name to greet: what they gave, else the part of the address before the @.
    #[must_use]
    pub fn display_name(&self) -> &str {
        match self.name.trim() {
            "" => self.email.split('@').next().unwrap_or(&self.email),
            name => name,
        }
    }
}

//! The audit log of admin actions.

use crate::UserId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// An entry of the audit log, with the email addresses as they were when it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When the action was taken.
    pub at: OffsetDateTime,
    /// Email of the admin; `None` for the command line, and for an account deleted before addresses were kept.
    pub actor: Option<String>,
    /// Email of the user it was applied to.
    pub target: Option<String>,
    /// The account it was applied to, if it still exists.
    pub target_user_id: Option<UserId>,
    /// Name of the action.
    pub action: String,
    /// The value before.
    pub before: Option<String>,
    /// The value after.
    pub after: Option<String>,
    /// The reason that was given.
    pub why: Option<String>,
}

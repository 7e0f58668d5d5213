//! Imports of conversations.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// An import in its user's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRow {
    /// Whether it is in progress.
    pub is_running: bool,
    /// Why it has failed; `None` if it hasn't.
    pub error: Option<String>,
    /// Conversations that were written so far.
    pub conversations: u64,
    /// Their messages.
    pub messages: u64,
    /// Conversations that were imported before, or are in the account.
    pub duplicates: u64,
    /// Conversations that couldn't be read or have no messages.
    pub skipped: u64,
    /// When it was started.
    pub created_at: OffsetDateTime,
}

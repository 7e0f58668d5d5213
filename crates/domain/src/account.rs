//! Accounts as the owner sees them.

use crate::{ModelName, PlanId, Tokens, UserId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// An account in the owner's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSummary {
    /// The account.
    pub user_id: UserId,
    /// The user's email.
    pub email: String,
    /// The current plan.
    pub plan: PlanId,
    /// Whether the user is an admin.
    pub is_admin: bool,
    /// Whether the account is paused, which makes it read-only.
    pub is_paused: bool,
    /// When the user signed up.
    pub created_at: OffsetDateTime,
    /// Number of accounts that were created from the same network, this one included, if there are suspiciously many.
    pub same_block: Option<u64>,
    /// Number of accounts whose address reaches the same mailbox, this one included, if there are several.
    pub same_address: Option<u64>,
}

/// A running call of an account and the tokens reserved for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldCall {
    /// The model that is called.
    pub model: ModelName,
    /// When the turn was admitted.
    pub since: OffsetDateTime,
    /// Tokens reserved in the meters.
    pub reserved: Tokens,
    /// Whether the turn's lease is still valid, by Postgres' clock.
    pub is_alive: bool,
}

//! What `/settings/data` needs to know of the account.

use serde::{Deserialize, Serialize};

/// How a user confirms the deletion of their account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataView {
    /// Whether the account has a password, which the form then asks for.
    pub has_password: bool,
    /// Whether the user proved who they are in the last ten minutes.
    pub is_confirmed: bool,
}

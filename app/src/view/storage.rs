//! The use of storage.

use serde::{Deserialize, Serialize};

/// How much a user stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageView {
    /// Bytes of their files, imported text and shared copies.
    pub used: u64,
    /// Maximum of their plan.
    pub limit: u64,
}

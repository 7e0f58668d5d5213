//! The use of file storage.

use serde::{Deserialize, Serialize};

/// How many bytes of files a user stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageView {
    /// Bytes of all their files.
    pub used: u64,
    /// Maximum of their plan.
    pub limit: u64,
}

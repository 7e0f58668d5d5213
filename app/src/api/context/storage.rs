//! Loads a user's use of storage.

use super::{PageState, Refusal};
use crate::view::storage::StorageView;
use domain::Viewer;

/// Loads how much storage a user uses.
pub(crate) async fn storage_of(state: &PageState, user: &Viewer) -> Result<StorageView, Refusal> {
    let storage = store::attachment::storage(&state.db, user.user_id).await.map_err(|error| state.fail(error))?;
    Ok(StorageView { used: storage.used, limit: storage.limit })
}

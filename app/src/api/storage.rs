//! The viewer's use of storage.

use super::Refusal;
use crate::view::storage::StorageView;
use leptos::prelude::*;

/// Loads how much storage the viewer uses.
#[server(prefix = "/fn", endpoint = "storage")]
pub async fn storage() -> Result<StorageView, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::storage_of(&state, &viewer).await
}

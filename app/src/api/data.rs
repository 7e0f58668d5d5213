//! What the viewer's data page needs to know.

use super::Refusal;
use crate::view::data::DataView;
use leptos::prelude::*;

/// Loads how the viewer confirms the deletion of their account.
#[server(prefix = "/fn", endpoint = "data")]
pub async fn own() -> Result<DataView, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::data_of(&state, &viewer).await
}

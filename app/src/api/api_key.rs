//! The viewer's API keys.

use super::Refusal;
use crate::view::api_key::{KeyView, KeysView};
use domain::ApiKeyId;
use leptos::prelude::*;

/// Loads the viewer's API keys with their usage.
#[server(prefix = "/fn", endpoint = "api_keys")]
pub async fn own() -> Result<KeysView, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::keys_of(&state, &viewer).await
}

/// Loads one of the viewer's API keys.
#[server(prefix = "/fn", endpoint = "api_key")]
pub async fn one(
    /// The key to load.
    id: ApiKeyId,
) -> Result<KeyView, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::key_of(&state, &viewer, id).await
}

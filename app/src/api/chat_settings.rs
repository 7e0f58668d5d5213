//! The viewer's settings for their conversations.

use super::Refusal;
use crate::view::chat_settings::ChatSettingsView;
use leptos::prelude::*;

/// Loads the viewer's instructions and presets.
#[server(prefix = "/fn", endpoint = "chat_settings")]
pub async fn load() -> Result<ChatSettingsView, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::chat_settings(&state, &viewer).await
}

/// Returns the days after its last message at which a conversation of the viewer is erased; `None` if it is kept.
#[server(prefix = "/fn", endpoint = "retention")]
pub async fn retention() -> Result<Option<u32>, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::retention_of(&state, &viewer).await
}

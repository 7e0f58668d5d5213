//! The state of the service.

use super::Refusal;
use crate::view::status::StatusView;
use leptos::prelude::*;

/// Loads the state of the service, at most 30 seconds old. Requires no sign-in.
#[server(prefix = "/fn", endpoint = "status")]
pub async fn status() -> Result<StatusView, Refusal> {
    let state = super::context::page_state()?;
    Ok(super::context::status_of(&state).await)
}

//! The viewer's sessions and recent activity.

use super::Refusal;
use crate::view::factors::FactorsView;
use crate::view::security::SecurityView;
use leptos::prelude::*;

/// Loads the viewer's sessions and recent activity.
#[server(prefix = "/fn", endpoint = "security")]
pub async fn own() -> Result<SecurityView, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    let session_hash = super::context::session_hash();
    super::context::security_of(&state, &viewer, &session_hash).await
}

/// Loads the viewer's sign-in methods.
#[server(prefix = "/fn", endpoint = "factors")]
pub async fn factors() -> Result<FactorsView, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::factors_of(&state, &viewer).await
}

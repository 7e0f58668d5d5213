//! The viewer's remaining quota.

use super::Refusal;
use domain::Quota;
use leptos::prelude::*;

/// Loads the viewer's remaining quota.
#[server(prefix = "/fn", endpoint = "quota")]
pub async fn own() -> Result<Quota, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::quota(&state, &viewer).await
}

//! The viewer's imports.

use super::Refusal;
use crate::view::import::ImportRow;
use leptos::prelude::*;

/// Lists the viewer's latest imports.
#[server(prefix = "/fn", endpoint = "imports")]
pub async fn own() -> Result<Vec<ImportRow>, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::imports_of(&state, &viewer).await
}

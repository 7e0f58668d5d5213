//! The viewer's shared links.

use super::Refusal;
use crate::view::share::SharesView;
use leptos::prelude::*;

/// Lists the viewer's shared links.
#[server(prefix = "/fn", endpoint = "shares")]
pub async fn own() -> Result<SharesView, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::shares_of(&state, &viewer).await
}

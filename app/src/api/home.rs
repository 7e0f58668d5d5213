//! The data of the landing page.

use super::Refusal;
use crate::view::home::HomeView;
use leptos::prelude::*;

/// Loads plans and models. Requires no sign-in.
#[server(prefix = "/fn", endpoint = "home")]
pub async fn home() -> Result<HomeView, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::visitor());
    super::context::home(&state, viewer.as_ref()).await
}

//! Services with which users sign in.

use super::Refusal;
use crate::view::identity::{ProviderButton, WaysIn};
use leptos::prelude::*;

/// Lists the services with which anyone can sign in.
#[server(prefix = "/fn", endpoint = "sign_in_options")]
pub async fn options() -> Result<Vec<ProviderButton>, Refusal> {
    Ok(super::context::sign_in_options(&super::context::page_state()?))
}

/// Loads how the viewer can sign in.
#[server(prefix = "/fn", endpoint = "ways_in")]
pub async fn own() -> Result<WaysIn, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::ways_in(&state, &viewer).await
}

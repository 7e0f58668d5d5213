//! Services with which users sign in.

use super::Refusal;
use crate::view::identity::ProviderButton;
use leptos::prelude::*;

/// Lists the services with which anyone can sign in.
#[server(prefix = "/fn", endpoint = "sign_in_options")]
pub async fn options() -> Result<Vec<ProviderButton>, Refusal> {
    Ok(super::context::sign_in_options(&super::context::page_state()?))
}

//! The plans on the pricing page.

use super::Refusal;
use crate::view::plan::PlanCatalog;
use leptos::prelude::*;

/// Loads all plans. Requires no sign-in.
#[server(prefix = "/fn", endpoint = "plans")]
pub async fn catalog() -> Result<PlanCatalog, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::visitor());
    super::context::plan_catalog(&state, viewer.as_ref()).await
}

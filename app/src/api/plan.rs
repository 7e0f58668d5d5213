//! The plans on the pricing page.

use super::Refusal;
use crate::view::plan::PlanCatalog;
use leptos::prelude::*;

/// Loads all plans. Requires no sign-in.
#[server(prefix = "/fn", endpoint = "plans")]
pub async fn catalog() -> Result<PlanCatalog, Refusal> {
    super::context::plan_catalog().await
}

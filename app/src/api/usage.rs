//! A user's usage.

use super::Refusal;
use crate::view::usage::UsageView;
use leptos::prelude::*;

/// Loads the viewer's usage of the last `days` days. The page offers 7, 30 and 90; values are clamped to 1–90.
#[server(prefix = "/fn", endpoint = "usage")]
pub async fn own(
    /// Number of days, including today.
    days: u16,
) -> Result<UsageView, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::usage_of(&state, &state.db, &viewer, days, super::context::Reader::User).await
}

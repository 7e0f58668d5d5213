//! The viewer's remaining quota.

use super::Refusal;
use domain::Quota;
use leptos::prelude::*;

/// Loads the viewer's remaining quota.
#[server(prefix = "/fn", endpoint = "quota")]
pub async fn own() -> Result<Quota, Refusal> {
    super::context::quota(&super::context::viewer()?).await
}

//! The viewer's subscription as last fetched from Stripe.

use super::Refusal;
use crate::view::billing::BillingView;
use leptos::prelude::*;

/// Loads the viewer's billing data.
#[server(prefix = "/fn", endpoint = "billing")]
pub async fn own() -> Result<BillingView, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::billing_of(&state, &viewer).await
}

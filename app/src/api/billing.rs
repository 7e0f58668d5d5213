//! The viewer's subscription as last fetched from Stripe.

use super::Refusal;
use domain::{Invoice, Quota, Subscription};
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// What can be bought here, and from whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payments {
    /// Nothing: no key is set.
    #[default]
    NotConnected,
    /// From Stripe.
    Stripe,
    /// From the fake of development and tests: no money moves.
    FakeProvider,
}

/// A user's billing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillingView {
    /// Whether anything can be bought or changed.
    pub payments: Payments,
    /// The one that counts: a live one, else the last.
    pub subscription: Option<Subscription>,
    /// The name of the plan it pays.
    pub paid_plan: Option<String>,
    /// The plan the owner gave, where that is what holds.
    pub granted: bool,
    /// What the plan falls back to.
    pub fallback: String,
    /// The newest first.
    pub invoices: Vec<Invoice>,
    /// What is left now; none while the meters are away.
    pub quota: Option<Quota>,
}

/// The viewer's billing.
#[server(prefix = "/fn", endpoint = "billing")]
pub async fn own() -> Result<BillingView, Refusal> {
    let viewer = super::context::viewer()?;
    super::context::billing_of(&viewer).await
}

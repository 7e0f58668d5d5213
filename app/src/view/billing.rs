//! Billing data of a user.

use domain::{Invoice, Quota, Subscription};
use serde::{Deserialize, Serialize};

/// The payment provider that is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payments {
    /// No Stripe key is set, so nothing can be bought.
    #[default]
    NotConnected,
    /// Stripe.
    Stripe,
    /// The Stripe simulator of development and tests: no money moves.
    FakeProvider,
}

/// A user's subscription, invoices and remaining quota. Timestamps have the offset of the user's time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillingView {
    /// The configured payment provider, which decides whether plans can be bought or changed.
    pub payments: Payments,
    /// The live subscription, or the most recent one if none is live.
    pub subscription: Option<Subscription>,
    /// Display name of the plan that the subscription pays for.
    pub paid_plan: Option<String>,
    /// Whether the current plan was granted by an admin instead of being paid for.
    pub granted: bool,
    /// Display name of the plan that applies when the subscription ends.
    pub fallback: String,
    /// Invoices, newest first.
    pub invoices: Vec<Invoice>,
    /// The remaining quota; `None` if the meters are unavailable.
    pub quota: Option<Quota>,
}

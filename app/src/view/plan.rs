//! Plans with prices, for the pricing page.

use super::billing::Payments;
use domain::{Period, Plan, PlanId};
use serde::{Deserialize, Serialize};

/// A plan with the display names of its models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanOffer {
    /// The plan.
    pub plan: Plan,
    /// Display names of the plan's models that can be used now, the default first. The demo model is omitted.
    pub models: Vec<String>,
    /// Number of API keys that a user may have.
    pub api_keys: u32,
}

/// All plans, with the viewer's relation to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanCatalog {
    /// Plans, smallest first.
    pub offers: Vec<PlanOffer>,
    /// The configured payment provider, which decides whether plans can be bought.
    pub payments: Payments,
    /// Whether a trial is available: the visitor is signed out or has had none yet.
    pub trial_available: bool,
    /// Plan and billing period of the viewer's live subscription, if any.
    #[serde(rename = "pays")]
    pub current_subscription: Option<(PlanId, Period)>,
}

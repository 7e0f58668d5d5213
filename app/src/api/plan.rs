//! The plans on the pricing page.

use super::Refusal;
use super::billing::Payments;
use domain::{Period, Plan, PlanId};
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// A plan with its models by the names users read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanOffer {
    /// The plan.
    pub plan: Plan,
    /// Labels of the models that can be asked, the default first.
    pub models: Vec<String>,
}

/// All offers, and what they are to whoever is looking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shop {
    /// The smallest first.
    pub offers: Vec<PlanOffer>,
    /// Whether they can be bought.
    pub payments: Payments,
    /// Whether a trial is open to whoever is looking.
    pub may_try: bool,
    /// What whoever is looking pays already.
    pub pays: Option<(PlanId, Period)>,
}

/// All plans. Anybody may read them.
#[server(prefix = "/fn", endpoint = "plans")]
pub async fn offered() -> Result<Shop, Refusal> {
    super::context::shop().await
}

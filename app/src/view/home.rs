//! What the landing page shows of plans and models.

use super::plan::PlanCatalog;
use domain::MicrosPerMillion;
use serde::{Deserialize, Serialize};

/// A model that can be used now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelPrice {
    /// Its display name.
    pub label: String,
    /// Price of input tokens, in the base tier.
    pub input: MicrosPerMillion,
    /// Price of output tokens, in the base tier.
    pub output: MicrosPerMillion,
    /// Display names of the plans that include it, the smallest first.
    pub plans: Vec<String>,
}

/// The data of the landing page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeView {
    /// The models that can be used now, without the built-in demo model.
    pub models: Vec<ModelPrice>,
    /// The plans.
    pub catalog: PlanCatalog,
}

//! The plans on offer.

use super::Refusal;
use domain::Plan;
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// A plan with its models by the names people read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The plan.
    pub plan: Plan,
    /// Labels of the models that can be asked, the default first.
    pub models: Vec<String>,
}

/// All plans, the smallest first. Anybody may read them.
#[server(prefix = "/fn", endpoint = "plans")]
pub async fn list() -> Result<Vec<Offer>, Refusal> {
    use super::context::{fail, sources};
    let plans = store::plan::list(&sources().db).await.map_err(fail)?;
    let models = store::model::list(&sources().db).await.map_err(fail)?;
    let label = |name: &domain::ModelName| {
        models
            .iter()
            .find(|model| model.name == *name && model.vendor != domain::Vendor::Demo)
            .map(|model| model.label.clone())
    };
    Ok(plans.into_iter().map(|plan| Offer { models: plan.models.iter().filter_map(label).collect(), plan }).collect())
}

//! Loads plans with the models that can be used now, for the pricing page and the landing page.

use super::model::{is_demo, usable};
use super::{PageState, Refusal};
use crate::view::home::{HomeView, ModelPrice};
use crate::view::plan::{PlanCatalog, PlanOffer};
use domain::{ModelName, Plan, Viewer};
use store::model_rule::ModelSettings;

/// Loads all plans with the viewer's subscription and trial eligibility. `viewer` is `None` for a visitor who is signed out.
pub(crate) async fn plan_catalog(state: &PageState, viewer: Option<&Viewer>) -> Result<PlanCatalog, Refusal> {
    let plans = store::plan::list(&state.db).await.map_err(|error| state.fail(error))?;
    catalog_of(state, viewer, plans, &usable(state).await?).await
}

/// Loads what the landing page shows: the plans, and the models that can be used now with their prices.
pub(crate) async fn home(state: &PageState, viewer: Option<&Viewer>) -> Result<HomeView, Refusal> {
    let plans = store::plan::list(&state.db).await.map_err(|error| state.fail(error))?;
    let usable = usable(state).await?;
    let price = |row: &ModelSettings| {
        let price = row.price?;
        let allowed = plans.iter().filter(|plan| plan.allows(&row.model.name));
        Some(ModelPrice {
            label: row.model.label.clone(),
            input: price.input,
            output: price.output,
            plans: allowed.map(|plan| plan.name.clone()).collect(),
        })
    };
    let models = usable.iter().filter(|row| !is_demo(&row.model)).filter_map(price);
    let models = models.filter(|model| !model.plans.is_empty()).collect();
    Ok(HomeView { models, catalog: catalog_of(state, viewer, plans, &usable).await? })
}

async fn catalog_of(
    state: &PageState,
    viewer: Option<&Viewer>,
    plans: Vec<Plan>,
    usable: &[ModelSettings],
) -> Result<PlanCatalog, Refusal> {
    let fail = |error| state.fail(error);
    let label = |name: &ModelName| {
        let found = usable.iter().find(|row| row.model.name == *name && !is_demo(&row.model));
        found.map(|row| row.model.label.clone())
    };
    let offers = plans
        .into_iter()
        .map(|plan| PlanOffer { models: plan.models.iter().filter_map(label).collect(), plan })
        .collect();
    let (mut trial_available, mut current_subscription) = (true, None);
    if let Some(viewer) = viewer {
        let payer = store::account::payer(&state.db, viewer.user_id).await.map_err(fail)?;
        trial_available = payer.is_some_and(|payer| !payer.tried);
        let subscriptions = store::subscription::of_user(&state.db, viewer.user_id).await.map_err(fail)?;
        let live = subscriptions.into_iter().find(|subscription| subscription.status.is_live());
        current_subscription = live.and_then(|live| Some((live.plan?, live.period)));
    }
    Ok(PlanCatalog { offers, payments: state.payments, trial_available, current_subscription })
}

//! Loads plans with the models that can be used now, for the pricing page and the landing page.

use super::model::{is_demo, list_usable, usable};
use super::{PageState, Refusal};
use crate::view::home::{HomeView, ModelPrice};
use crate::view::plan::{PlanCatalog, PlanOffer};
use domain::{ModelName, Plan, PlanId, Viewer};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use store::model_rule::ModelSettings;

/// How long the landing page shows plans and models before they are loaded again.
const FRESH: Duration = Duration::from_secs(1);

/// How many API keys each plan allows.
type KeysByPlan = HashMap<PlanId, i32>;
/// The plans, the models that can be used now, and the API keys of the plans.
type Offered = (Vec<Plan>, Vec<ModelSettings>, KeysByPlan);

/// The plans and models that the landing page shows. All requests share them, so that a flood of visitors takes no connection to Postgres from
/// users, and the page stays up while Postgres is unavailable.
#[derive(Default)]
pub struct OfferedCache(Mutex<Option<(Instant, Arc<Offered>)>>);

impl OfferedCache {
    /// Returns the cached data, and whether the caller must load it again. Until then, other callers get the cached data.
    fn get(&self, now: Instant) -> (Option<Arc<Offered>>, bool) {
        let mut latest = self.lock();
        let Some((at, kept)) = latest.as_mut() else { return (None, true) };
        let is_due = now.saturating_duration_since(*at) >= FRESH;
        if is_due {
            *at = now;
        }
        (Some(Arc::clone(kept)), is_due)
    }

    /// Stores the loaded data in the cache, and returns it.
    fn keep(&self, loaded: Offered, now: Instant) -> Arc<Offered> {
        let loaded = Arc::new(loaded);
        *self.lock() = Some((now, Arc::clone(&loaded)));
        loaded
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Arc<Offered>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns plans and models, about a second old at most, or older ones if they can't be loaded.
async fn offered(state: &PageState) -> Result<Arc<Offered>, Refusal> {
    let kept = match state.offered.get(Instant::now()) {
        (Some(kept), false) => return Ok(kept),
        (kept, _) => kept,
    };
    match (load(state).await, kept) {
        (Ok(loaded), _) => Ok(state.offered.keep(loaded, Instant::now())),
        (Err(error), Some(kept)) => {
            (state.report)(&error);
            Ok(kept)
        }
        (Err(error), None) => Err(state.fail(error)),
    }
}

async fn load(state: &PageState) -> store::Result<Offered> {
    let keys = store::plan_rule::api_keys(&state.db).await?;
    Ok((store::plan::list(&state.db).await?, list_usable(state).await?, keys))
}

/// Loads all plans with the viewer's subscription and trial eligibility. `viewer` is `None` for a visitor who is signed out.
pub(crate) async fn plan_catalog(state: &PageState, viewer: Option<&Viewer>) -> Result<PlanCatalog, Refusal> {
    let plans = store::plan::list(&state.db).await.map_err(|error| state.fail(error))?;
    let keys = store::plan_rule::api_keys(&state.db).await.map_err(|error| state.fail(error))?;
    catalog_of(state, viewer, plans, &usable(state).await?, &keys).await
}

/// Loads what the landing page shows: the plans, and the models that can be used now with their prices.
pub(crate) async fn home(state: &PageState, viewer: Option<&Viewer>) -> Result<HomeView, Refusal> {
    let offered = offered(state).await?;
    let (plans, usable, keys) = &*offered;
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
    Ok(HomeView { models, catalog: catalog_of(state, viewer, plans.clone(), usable, keys).await? })
}

async fn catalog_of(
    state: &PageState,
    viewer: Option<&Viewer>,
    plans: Vec<Plan>,
    usable: &[ModelSettings],
    keys: &KeysByPlan,
) -> Result<PlanCatalog, Refusal> {
    let fail = |error| state.fail(error);
    let label = |name: &ModelName| {
        let found = usable.iter().find(|row| row.model.name == *name && !is_demo(&row.model));
        found.map(|row| row.model.label.clone())
    };
    let offers = plans
        .into_iter()
        .map(|plan| PlanOffer {
            models: plan.models.iter().filter_map(label).collect(),
            api_keys: keys.get(&plan.id).map_or(0, |keys| keys.unsigned_abs()),
            plan,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_loads_again_while_others_are_given_what_is_kept() {
        let (cache, now) = (OfferedCache::default(), Instant::now());
        assert!(matches!(cache.get(now), (None, true)));
        let first = cache.keep(Offered::default(), now);
        let is_kept = |at: Instant, is_due: bool| {
            let (kept, due) = cache.get(at);
            kept.is_some_and(|kept| Arc::ptr_eq(&kept, &first)) && due == is_due
        };
        let later = now + FRESH;
        assert!(is_kept(now, false) && is_kept(later, true) && is_kept(later, false) && is_kept(later + FRESH, true));
    }
}

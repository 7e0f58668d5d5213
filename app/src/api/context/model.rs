//! Loads models and providers: those that can be used now, the owner's list of providers, and warnings about both.

use super::{PageState, Refusal};
use crate::view::admin::Warnings;
use crate::view::conversation::AvailableModel;
use crate::view::provider::{ProviderRow, ends_soon};
use domain::{Model, Viewer, WireFormat};
use store::model_rule::ModelSettings;
use time::Date;

/// Kind of the alerts about providers that have no credit left or reject the API key.
const PROVIDER_ACCOUNT: &str = "provider_account";

/// Loads the models that can be used now, in the order of the model picker.
pub(super) async fn usable_models(state: &PageState) -> Result<Vec<Model>, Refusal> {
    Ok(usable(state).await?.into_iter().map(|row| row.model).collect())
}

/// Loads the models that can be used now with their prices, in the order of the model picker: they are enabled, have a price in force, have not
/// ended, and their provider is available.
pub(super) async fn usable(state: &PageState) -> Result<Vec<ModelSettings>, Refusal> {
    list_usable(state).await.map_err(|error| state.fail(error))
}

/// As [`usable`], for a page that is shown without them if the query fails.
pub(super) async fn list_usable(state: &PageState) -> store::Result<Vec<ModelSettings>> {
    let now = (state.now)();
    let settings = store::model_rule::list(&state.db, now).await?;
    let is_usable = |row: &ModelSettings| {
        row.rules.enabled
            && row.price.is_some()
            && row.model.ends_at.is_none_or(|day| day > now.date())
            && (state.offers)(&row.model)
    };
    Ok(settings.into_iter().filter(is_usable).collect())
}

/// Returns whether a model is the built-in demo.
pub(super) fn is_demo(model: &Model) -> bool {
    model.provider.wire_format == WireFormat::Demo
}

/// Loads all providers with their models, keys and circuits.
pub(crate) async fn providers(state: &PageState) -> Result<Vec<ProviderRow>, Refusal> {
    let fail = |error| state.fail(error);
    let providers = store::provider::list(&state.admin_db).await.map_err(fail)?;
    let models = store::model_rule::list(&state.admin_db, (state.now)()).await.map_err(fail)?;
    let circuits = (state.providers)();
    let row = |provider: domain::Provider| ProviderRow {
        env_base_url: (state.env_base_url)(&provider.name).map(|(variable, url)| (variable.to_owned(), url)),
        has_key: provider.key_variable.as_deref().map(|name| (state.has_key)(name)),
        models: models
            .iter()
            .filter(|row| row.model.provider.name == provider.name)
            .map(|row| (row.model.name.clone(), row.model.label.clone(), row.rules.enabled))
            .collect(),
        open_ms: circuits.iter().find(|(label, _)| *label == provider.label).and_then(|(_, open_ms)| *open_ms),
        provider,
    };
    Ok(providers.into_iter().map(row).collect())
}

/// Loads the warnings about these models and all providers.
pub(super) async fn warnings(
    state: &PageState,
    tx: &mut store::Tx,
    models: &[ModelSettings],
    today: Date,
) -> Result<Warnings, Refusal> {
    let ending = models.iter().filter(|row| row.rules.enabled && ends_soon(row.model.ends_at, today));
    let alerts = store::alert::list_open(&mut *tx).await.map_err(|error| state.fail(error))?;
    Ok(Warnings {
        ending: ending.filter_map(|row| Some((row.model.label.clone(), row.model.ends_at?))).collect(),
        accounts: alerts
            .into_iter()
            .filter(|alert| alert.kind == PROVIDER_ACCOUNT)
            .map(|alert| alert.message)
            .collect(),
    })
}

/// Loads the models that can be used now: those of the plan, in its order, followed by those that it doesn't allow.
pub(super) async fn available_models(state: &PageState, viewer: &Viewer) -> Result<Vec<AvailableModel>, Refusal> {
    let choice = |model: Model| AvailableModel {
        allowed: viewer.plan.allows(&model.name),
        is_demo: is_demo(&model),
        name: model.name,
        label: model.label,
        efforts: model.efforts,
        takes_images: model.takes_images,
    };
    let mut models: Vec<AvailableModel> = usable_models(state).await?.into_iter().map(choice).collect();
    models.sort_by_key(|choice| viewer.plan.models.iter().position(|name| *name == choice.name).unwrap_or(usize::MAX));
    Ok(models)
}

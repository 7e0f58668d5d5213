//! What the tables of models share.

use crate::view::admin::ModelRow;
use domain::ModelName;
use leptos::prelude::*;

/// Returns an element id that is unique to a model.
pub(super) fn element_id(what: &str, model: &ModelName) -> String {
    format!("{what}-{}", model.0.replace(['.', '/', ':'], "-"))
}

/// Renders the head of a model's row.
pub(super) fn model_head(row: &ModelRow) -> impl IntoView + use<> {
    let (label, name) = (row.model.label.clone(), row.model.name.0.clone());
    view! { <th scope="row">{label}<br/><code>{name}</code></th> }
}

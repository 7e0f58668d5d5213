//! What the tables of models share.

use crate::page_context::page_context;
use crate::view::admin::ModelRow;
use domain::ModelName;
use leptos::prelude::*;

/// Returns an element id that is unique to a model.
pub(super) fn element_id(what: &str, model: &ModelName) -> String {
    format!("{what}-{}", model.0.replace(['.', '/', ':'], "-"))
}

/// Returns what a field of a model's row shows: what was typed if the row's form was rejected, else the stored value.
pub(super) fn field_value(model: &ModelName, field: &str, stored: String) -> String {
    let form = page_context().form;
    let typed = form.submitted(field).filter(|_| form.submitted("row").as_ref() == Some(&model.0));
    typed.unwrap_or(stored)
}

/// Renders the head of a model's row.
pub(super) fn model_head(row: &ModelRow) -> impl IntoView + use<> {
    let (label, name) = (row.model.label.clone(), row.model.name.0.clone());
    view! { <th scope="row">{label}<br/><code>{name}</code></th> }
}

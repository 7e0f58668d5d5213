//! Parts of pages that the browser adds to the page that it has: how they are requested and rendered.

use axum::response::Html;
use domain::Problem;
use leptos::prelude::*;
use std::str::FromStr;

/// Parses a parameter of the query, if it is there.
///
/// # Errors
/// Returns a problem with the values that the parameter may have.
pub(super) fn parameter<T: FromStr>(
    name: &'static str,
    expected: &str,
    value: Option<String>,
) -> Result<Option<T>, Problem> {
    let parsed = value.map(|value| value.parse::<T>()).transpose();
    parsed.map_err(|_| Problem::invalid(name, format!("`{name}` must be {expected}.")))
}

/// Renders components as a part of a page.
pub(super) fn fragment<V: IntoView>(view: impl FnOnce() -> V) -> Html<String> {
    // The reactive values of the rendered components belong to this owner, and end with it.
    Html(Owner::new().with(|| view().to_html()))
}

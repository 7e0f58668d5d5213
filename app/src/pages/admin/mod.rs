//! What the owner sees.

use leptos::prelude::*;

/// The owner's pages, the one that is open marked.
#[component]
pub fn AdminTabs(
    /// Its address.
    current: &'static str,
) -> impl IntoView {
    let tabs = [("/admin", "Heaviest users"), ("/admin/models", "Models"), ("/admin/health", "Health")];
    let tabs =
        tabs.map(|(href, label)| view! { <a href=href aria-current=(href == current).then_some("page")>{label}</a> });
    view! { <nav class="tabs" aria-label="Admin">{tabs.into_iter().collect_view()}</nav> }
}

pub mod health;
pub mod heaviest;
pub mod models;
pub mod person;

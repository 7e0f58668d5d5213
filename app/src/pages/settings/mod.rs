//! The viewer's settings pages.

pub mod account;
pub mod billing;

use crate::page_context::page_context;
use leptos::prelude::*;

/// Tabs that link the settings pages.
#[component]
fn Tabs() -> impl IntoView {
    let here = page_context().path;
    let link = |path: &'static str, label: &'static str| {
        view! { <a href=path aria-current=(here == path).then_some("page")>{label}</a> }
    };
    view! { <nav class="tabs" aria-label="Settings">{link("/settings", "Account")}{link("/settings/billing", "Billing")}</nav> }
}

//! Pages of the user's own account.

pub mod account;
pub mod billing;

use crate::page_context::page_context;
use leptos::prelude::*;

/// The pages of the settings.
#[component]
fn Tabs() -> impl IntoView {
    let here = page_context().path;
    let link = |path: &'static str, label: &'static str| {
        view! { <a href=path aria-current=(here == path).then_some("page")>{label}</a> }
    };
    view! { <nav class="tabs" aria-label="Settings">{link("/settings", "Account")}{link("/settings/billing", "Billing")}</nav> }
}

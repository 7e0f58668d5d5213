//! The owner's pages, visible to admins only.

use crate::components::icon::{Draw, Icon};
use crate::page_context::page_context;
use domain::Tokens;
use leptos::prelude::*;

/// Tabs that link the owner's pages.
#[component]
pub fn AdminTabs(
    /// The URL of the open tab.
    current: &'static str,
) -> impl IntoView {
    let tabs = [
        ("/admin", "Overview"),
        ("/admin/users", "Users"),
        ("/admin/models", "Models"),
        ("/admin/providers", "Providers"),
        ("/admin/plans", "Plans"),
        ("/admin/health", "Health"),
        ("/admin/audit", "Audit"),
    ];
    let tabs =
        tabs.map(|(href, label)| view! { <a href=href aria-current=(href == current).then_some("page")>{label}</a> });
    view! { <nav class="tabs" aria-label="Admin">{tabs.into_iter().collect_view()}</nav> }
}

/// Confirms that a form was saved, if the query has the parameter `saved`. Renders nothing otherwise.
#[component]
pub fn Saved(
    /// What happened.
    sentence: &'static str,
) -> impl IntoView {
    let is_saved = page_context().query("saved").is_some();
    is_saved.then(|| view! { <p class="done" role="status"><Draw icon=Icon::Check/>{sentence}</p> })
}

/// Links to the previous and next page. Renders nothing if there is only one page.
#[component]
pub fn Pager(
    /// Number of the current page, starting at 1.
    page: u32,
    /// Total number of pages.
    pages: u64,
    /// Returns the URL of a page.
    href: impl Fn(u32) -> String + 'static,
) -> impl IntoView {
    let before =
        (page > 1).then(|| view! { <a class="button secondary small" rel="prev" href=href(page - 1)>"Previous"</a> });
    let after = (u64::from(page) < pages)
        .then(|| view! { <a class="button secondary small" rel="next" href=href(page + 1)>"Next"</a> });
    (pages > 1 || page > 1).then(|| {
        view! { <nav class="pager" aria-label="Pages">{before}<span>{format!("Page {page} of {}", pages.max(1))}</span>{after}</nav> }
    })
}

/// Renders a labeled text field of a form with many of them. A field whose note is empty is required.
fn text_field(
    id: String,
    name: &'static str,
    label: &'static str,
    note: &'static str,
    inputmode: &'static str,
    value: String,
) -> AnyView {
    let is_optional = !note.is_empty();
    view! {
        <div class="field">
            <label for=id.clone()>{label}{is_optional.then(|| view! { " "<span class="optional">{note}</span> })}</label>
            <input id=id name=name inputmode=inputmode required=!is_optional autocomplete="off" value=value/>
        </div>
    }
    .into_any()
}

/// Formats timeouts in milliseconds by what they limit; "default" if none is set.
fn timeouts_text(timeouts: &[(&str, Option<u32>)]) -> String {
    let set = timeouts.iter().filter_map(|(what, ms)| ms.map(|ms| format!("{what} {} ms", Tokens(ms.into()))));
    let set: Vec<String> = set.collect();
    if set.is_empty() { "default".to_owned() } else { set.join(", ") }
}

pub mod audit;
pub mod health;
mod model_test;
pub mod models;
pub mod plans;
pub mod providers;
mod retention;
pub mod top_users;
pub mod user;
mod user_keys;
pub mod users;

//! The owner's pages, visible to admins only.

use leptos::prelude::*;

/// Tabs that link the owner's pages.
#[component]
pub fn AdminTabs(
    /// The URL of the open tab.
    current: &'static str,
) -> impl IntoView {
    let tabs = [
        ("/admin", "Top users"),
        ("/admin/users", "Users"),
        ("/admin/models", "Models"),
        ("/admin/plans", "Plans"),
        ("/admin/health", "Health"),
        ("/admin/audit", "Audit"),
    ];
    let tabs =
        tabs.map(|(href, label)| view! { <a href=href aria-current=(href == current).then_some("page")>{label}</a> });
    view! { <nav class="tabs" aria-label="Admin">{tabs.into_iter().collect_view()}</nav> }
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
    let before = (page > 1).then(|| view! { <a class="secondary small" rel="prev" href=href(page - 1)>"Previous"</a> });
    let after = (u64::from(page) < pages)
        .then(|| view! { <a class="secondary small" rel="next" href=href(page + 1)>"Next"</a> });
    (pages > 1 || page > 1).then(|| {
        view! { <nav class="pager" aria-label="Pages">{before}<span>{format!("Page {page} of {}", pages.max(1))}</span>{after}</nav> }
    })
}

pub mod audit;
pub mod health;
pub mod models;
pub mod plans;
pub mod top_users;
pub mod user;
pub mod users;

//! The page frame: header, banners and footer.

use super::duration::local_day;
use super::footer::SiteFooter;
use super::icon::{Draw, Icon, Mark};
use crate::page_context::page_context;
use domain::brand;
use leptos::prelude::*;
use leptos_meta::Title;

/// The frame of site and account pages: a header with navigation, the page itself, and a footer.
#[component]
pub fn Frame(
    /// Document title, shown before the product's name; empty shows only the product's name.
    #[prop(into)]
    title: String,
    /// Whether to use the wide layout, for pages with tables.
    #[prop(default = false)]
    wide: bool,
    children: Children,
) -> impl IntoView {
    let here = page_context();
    let current =
        move |path: &str| (here.path == path || (path != "/" && here.path.starts_with(path))).then_some("page");
    let viewer = page_context().viewer;
    let links = match &viewer {
        None => view! {
            <a href="/pricing" aria-current=current("/pricing")>"Pricing"</a>
            <a href="/sign-in" aria-current=current("/sign-in")>"Sign in"</a>
            <a class="button small" href="/sign-up">"Start free"</a>
        }
        .into_any(),
        Some(viewer) => view! {
            <a href="/chat">"Chat"</a>
            <a href="/usage" aria-current=current("/usage")>"Usage"</a>
            <a href="/pricing" aria-current=current("/pricing")>"Plans"</a>
            <a href="/settings" aria-current=current("/settings")>"Settings"</a>
            {viewer.is_admin.then(|| view! { <a href="/admin" aria-current=current("/admin")>"Admin"</a> })}
            <form method="post" action="/sign-out"><button class="quiet small">"Sign out"</button></form>
        }
        .into_any(),
    };
    view! {
        <Title text=title/>
        <a class="skip" href="#content">"Skip to content"</a>
        <header class="site-header">
            <nav class="row" aria-label="Main">
                <a class="wordmark" href="/" aria-label=brand::NAME><Mark/><span>{brand::NAME}</span></a>
                <div class="links">{links}</div>
            </nav>
        </header>
        <Overdue/>
        <main id="content" class=if wide { "page wide" } else { "page" }>{children()}</main>
        <SiteFooter/>
    }
}

/// A banner shown until the viewer's email address is confirmed, with a link to the page that confirms it. Renders nothing otherwise.
#[component]
pub fn Unconfirmed(
    /// Whether the demo model is offered, which answers before the address is confirmed. No other model does.
    has_demo: bool,
) -> impl IntoView {
    let why = match has_demo {
        true => "Confirm your email address. Until then you can use only the demo model. We sent a link to ",
        false => "Confirm your email address to send messages. We sent a link to ",
    };
    page_context().viewer.filter(|viewer| !viewer.is_verified).map(move |viewer| {
        view! {
            <div class="banner" role="status">
                <p class="row">
                    <Draw icon=Icon::Mail/>
                    <span>{why}<span class="long">{viewer.email}</span>". "
                        <a href="/verify">"Enter the code"</a></span>
                </p>
            </div>
        }
    })
}

/// A banner shown while a payment is overdue, with the end of the grace period and a link to update the card. Renders nothing otherwise.
#[component]
pub fn Overdue() -> impl IntoView {
    page_context().viewer.and_then(|viewer| viewer.grace_until).map(|until| {
        view! {
            <div class="banner" role="status">
                <p class="row">
                    <Draw icon=Icon::Alert/>
                    <span>{format!("Your last payment failed. Your plan stays active until {}. ", local_day(until))}
                        <a href="/settings/billing">"Update card"</a></span>
                </p>
            </div>
        }
    })
}

//! The footers of pages: a full one for visitors, and slim ones for users and below the cards of sign-up and sign-in.

use super::icon::Mark;
use super::theme::ThemeSwitch;
use crate::page_context::page_context;
use domain::brand;
use leptos::prelude::*;

/// A link: whether it is shown, its path and its text.
type Link = (bool, &'static str, &'static str);

/// Pages of visitors.
const PUBLIC: [Link; 2] = [(true, "/pricing", "Pricing"), (true, "/sign-up", "Create account")];
/// Pages that explain the product.
const HELP: [Link; 5] = [
    (brand::HELP, "/help", "Help"),
    (true, "/docs/api", "API"),
    (brand::STATUS, "/status", "Status"),
    (brand::CHANGELOG, "/changelog", "Changelog"),
    (brand::BLOG, "/blog", "Blog"),
];
/// Legal pages.
const LEGAL: [Link; 3] = [(true, "/terms", "Terms"), (true, "/privacy", "Privacy"), (true, "/imprint", "Imprint")];

/// The footer, at the bottom of the window on short pages. Users, whose pages the header has, get the slim one.
#[component]
pub fn SiteFooter() -> impl IntoView {
    if page_context().viewer.is_some() {
        return view! { <SlimFooter/> }.into_any();
    }
    view! {
        <footer class="site-footer">
            <div class="footer-columns">
                <div class="footer-brand">
                    <p class="wordmark"><Mark/><span>{brand::NAME}</span></p>
                    <p>{brand::TAGLINE}</p>
                    {elsewhere()}
                </div>
                {column("Product", &PUBLIC, None)}
                {column("Help", &HELP, Some(contact()))}
                {column("Legal", &LEGAL, None)}
            </div>
            <div class="row"><span translate="no">{format!("© {}", brand::NAME)}</span><ThemeSwitch/></div>
        </footer>
    }
    .into_any()
}

/// A footer of one line. On the pages for signing up and in, it links to the legal pages only.
#[component]
pub fn SlimFooter() -> impl IntoView {
    let help = page_context().viewer.map(|_| items(&HELP));
    view! {
        <footer class="site-footer slim">
            <div class="row">
                <ul class="footer-line">{help}{items(&LEGAL)}<li><a href=contact()>"Contact us"</a></li></ul>
                <ThemeSwitch/>
            </div>
        </footer>
    }
}

fn contact() -> String {
    format!("mailto:{}", brand::SUPPORT_EMAIL)
}

/// A titled list of links, with one to contact the owner if `contact` is given.
fn column(title: &'static str, links: &[Link], contact: Option<String>) -> impl IntoView + use<> {
    let contact = contact.map(|href| view! { <li><a href=href>"Contact us"</a></li> });
    view! { <nav aria-label=title><h2>{title}</h2><ul>{items(links)}{contact}</ul></nav> }
}

fn items(links: &[Link]) -> impl IntoView + use<> {
    let shown = links.iter().filter(|(is_shown, ..)| *is_shown);
    shown.map(|(_, path, label)| view! { <li><a href=*path>{*label}</a></li> }).collect_view()
}

/// The owner's links. Renders nothing if there are none.
fn elsewhere() -> impl IntoView {
    brand::LINKS.first().map(|_| {
        let links =
            brand::LINKS.iter().map(|(label, href)| view! { <li><a href=*href>{*label}</a></li> }).collect_view();
        view! { <ul class="footer-line">{links}</ul> }
    })
}

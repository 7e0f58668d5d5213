//! Pages whose text the site's owner writes, in the Markdown files of `content/`. The server finds the text by the path.

pub mod blog;
pub mod changelog;
pub mod help;

use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::page_context::page_context;
use crate::view::content::Entry;
use domain::brand;
use leptos::prelude::*;
use std::sync::Arc;
use time::Date;

/// Returns the page's text. The server shows these pages only if there is one.
fn own_entry() -> Arc<Entry> {
    page_context().content.and_then(|content| content.entry).unwrap_or_default()
}

/// Returns all texts of the page's kind, in the order in which they are listed.
fn all_entries() -> Vec<Arc<Entry>> {
    page_context().content.map(|content| content.all.to_vec()).unwrap_or_default()
}

/// Formats a day: "27 November 2026".
pub(super) fn day(date: Date) -> String {
    format!("{} {} {}", date.day(), date.month(), date.year())
}

/// A day that programs can read as well.
fn time_of(date: Option<Date>) -> impl IntoView {
    date.map(|date| view! { <time datetime=date.to_string()>{day(date)}</time> })
}

/// The HTML of a text.
fn text_of(entry: &Entry) -> impl IntoView + use<> {
    view! { <div class="markdown" inner_html=entry.html.clone()></div> }
}

/// `/terms`, `/privacy` and `/imprint`.
#[component]
pub fn Legal() -> impl IntoView {
    let entry = own_entry();
    view! {
        <Frame title=entry.title.clone()>
            <article class="text-page">
                <header class="page-head">
                    <h1>{entry.title.clone()}</h1>
                    {entry.date.map(|date| view! { <p>"Last changed on "{time_of(Some(date))}"."</p> })}
                </header>
                <Template/>
                {text_of(&entry)}
            </article>
        </Frame>
    }
}

/// `/docs/api`.
#[component]
pub fn ApiDocs() -> impl IntoView {
    let entry = own_entry();
    view! {
        <Frame title=entry.title.clone()>
            <article class="text-page">
                <header class="page-head"><h1>{entry.title.clone()}</h1></header>
                {text_of(&entry)}
            </article>
        </Frame>
    }
}

/// Warns that the text is a template. Renders nothing once the owner has confirmed it.
#[component]
fn Template() -> impl IntoView {
    (!brand::LEGAL_CONFIRMED).then(|| {
        view! {
            <p class="template-note">
                <Draw icon=Icon::Alert/>
                <span><strong>"Template."</strong>" Have a lawyer check this text before you rely on it."</span>
            </p>
        }
    })
}

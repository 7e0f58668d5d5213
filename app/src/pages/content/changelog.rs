//! `/changelog`: what is new, for users. `/changelog.xml` has the same as a feed.

use super::{all_entries, text_of, time_of};
use crate::components::frame::Frame;
use crate::view::content::Entry;
use domain::brand;
use leptos::prelude::*;

/// All changes, the latest first.
#[component]
pub fn Changelog() -> impl IntoView {
    let entries = all_entries();
    let is_empty = entries.is_empty();
    let change = |entry: &Entry| {
        view! {
            <section class="change" id=entry.fragment().to_owned()>
                <p class="hint">{time_of(entry.date)}</p>
                <h2>{entry.title.clone()}</h2>
                {text_of(entry)}
            </section>
        }
    };
    view! {
        <Frame title="Changelog">
            <header class="page-head">
                <h1>"Changelog"</h1>
                <p>{format!("What is new in {}. ", brand::NAME)}<a href="/changelog.xml">"Subscribe by RSS"</a></p>
            </header>
            {is_empty.then(|| view! { <p class="hint">"No changes yet."</p> })}
            {entries.iter().map(|entry| change(entry)).collect_view()}
        </Frame>
    }
}

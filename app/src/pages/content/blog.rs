//! `/blog` and `/blog/{post}`.

use super::{all_entries, own_entry, text_of, time_of};
use crate::components::frame::Frame;
use crate::components::json_ld::{JsonLd, post};
use crate::view::content::Entry;
use domain::brand;
use leptos::prelude::*;

/// All posts, the latest first.
#[component]
pub fn Blog() -> impl IntoView {
    let entries = all_entries();
    let is_empty = entries.is_empty();
    let row = |entry: &Entry| {
        view! {
            <li>
                <p class="hint">{time_of(entry.date)}</p>
                <h2><a href=entry.path.clone()>{entry.title.clone()}</a></h2>
                <p>{entry.description.clone()}</p>
            </li>
        }
    };
    view! {
        <Frame title="Blog">
            <header class="page-head"><h1>"Blog"</h1><p>{format!("What we learn and build at {}.", brand::NAME)}</p></header>
            {is_empty.then(|| view! { <p class="hint">"No posts yet."</p> })}
            <ul class="posts">{entries.iter().map(|entry| row(entry)).collect_view()}</ul>
        </Frame>
    }
}

/// One post.
#[component]
pub fn Post() -> impl IntoView {
    let entry = own_entry();
    view! {
        <Frame title=entry.title.clone()>
            <p class="crumb"><a href="/blog">"Blog"</a></p>
            <article class="text-page">
                <header class="page-head"><h1>{entry.title.clone()}</h1><p>{time_of(entry.date)}</p></header>
                {text_of(&entry)}
            </article>
            <JsonLd value=post(&entry)/>
        </Frame>
    }
}

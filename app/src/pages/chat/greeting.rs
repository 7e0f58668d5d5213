//! The empty state of a new conversation.

use crate::page_context::page_context;
use domain::money::count;
use domain::{Quota, brand};
use leptos::prelude::*;

/// Greets the viewer by name, with what is left of the quota and starter messages. The island puts a starter into the message box and
/// hides the greeting when the first turn starts.
#[component]
pub(super) fn Greeting(
    /// The remaining quota; `None` if it can't be loaded.
    quota: Option<Quota>,
) -> impl IntoView {
    let name = page_context().viewer.map(|viewer| viewer.display_name().to_owned()).unwrap_or_default();
    let starters = brand::STARTERS
        .iter()
        .map(|(label, text)| view! { <li><button type="button" class="secondary" data-starter=*text>{*label}</button></li> })
        .collect_view();
    let left = quota.map(|quota| {
        format!(
            "You have {} left today and {} left this minute.",
            count(quota.tokens.remaining, "token", "tokens"),
            count(quota.requests.remaining, "request", "requests"),
        )
    });
    view! {
        <section id="greeting" class="greeting">
            <h2>{if name.is_empty() { "Hello".to_owned() } else { format!("Hello, {name}") }}</h2>
            <p translate="no">{left}</p>
            <ul class="starters">{starters}</ul>
        </section>
    }
}

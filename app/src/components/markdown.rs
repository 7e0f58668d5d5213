//! An answer as text, for places that have no rendered HTML. Markdown is rendered on the server, by `crates/markdown`.

use leptos::prelude::*;

/// Renders a message's text as it is.
#[component]
pub fn Markdown(
    /// The text; rendered again whenever it changes.
    #[prop(into)]
    text: Signal<String>,
) -> impl IntoView {
    view! { <div class="markdown"><p dir="auto">{move || text.get()}</p></div> }
}

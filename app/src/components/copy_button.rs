//! A button that copies the text of another element.

use super::icon::{Draw, Icon};
use leptos::prelude::*;

/// Copies the text of the element with the id `of`. `public/copy.js` reveals the button and makes it work, so that nothing is missing without
/// JavaScript: the text can be selected.
#[component]
pub fn CopyButton(
    /// Id of the element with the text.
    of: &'static str,
    /// What is copied, for screen readers: "the API key".
    what: &'static str,
) -> impl IntoView {
    view! {
        <button type="button" class="secondary small" data-copies=of hidden>
            <Draw icon=Icon::Copy/><span data-state aria-live="polite">"Copy"</span><span class="unseen">{format!(" {what}")}</span>
        </button>
        <script type="module" src="/copy.js" nonce=use_nonce()/>
    }
}

//! The chat, which is the page's only island. The server renders all of the page; the island has no view and no props. It works on the
//! elements that it finds, by the ids and `data-` attributes of this page, so that the browser loads little code.

use super::events;
use leptos::prelude::*;

/// Starts the chat in the browser.
#[island]
pub fn Chat() -> impl IntoView {
    // Effects run only in the browser, after hydration.
    Effect::new(events::start);
}

//! Search in the viewer's titles and messages.

use super::Refusal;
use crate::view::search::SearchView;
use domain::MessageId;
use leptos::prelude::*;

/// Finds conversations by their titles, and messages by their words.
#[server(prefix = "/fn", endpoint = "search")]
pub async fn find(
    /// What to search for, as it was typed.
    text: String,
    /// The message before which messages are found; `None` finds the newest ones.
    before: Option<MessageId>,
) -> Result<SearchView, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::search(&state, &viewer, text, before, super::context::PAGE_RESULTS).await
}

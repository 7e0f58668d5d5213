//! Searches the viewer's conversations.

use super::{PageState, Refusal, refuse};
use crate::view::search::{FoundMessage, FoundTitle, SearchView};
use domain::search::{MAX_SEARCH, Piece};
use domain::{MessageId, Problem, Role, SearchQuery, Viewer};
use std::panic::catch_unwind;

/// How many results are shown: conversations by their titles, and messages.
pub type Results = (usize, usize);
/// Results on the search page.
pub(crate) const PAGE_RESULTS: Results = (8, 20);
/// Results in the palette.
pub const PALETTE_RESULTS: Results = (5, 8);

/// Finds conversations and messages, or messages older than `before`. A text without words finds nothing.
///
/// # Errors
/// Returns a problem if the text is too long, or a query fails.
pub async fn search(
    state: &PageState,
    viewer: &Viewer,
    text: String,
    before: Option<MessageId>,
    (titles, messages): Results,
) -> Result<SearchView, Refusal> {
    if text.chars().count() > MAX_SEARCH {
        return Err(refuse(Problem::invalid("q", format!("Search for at most {MAX_SEARCH} characters."))));
    }
    let is_later = before.is_some();
    let Some(query) = SearchQuery::parse(&text) else {
        return Ok(SearchView { text, is_later, ..SearchView::default() });
    };
    // One more message shows whether there are older ones.
    let limit = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let limits = (limit(titles), limit(messages).saturating_add(1));
    let found = store::search::find(&state.db, viewer.user_id, &query, before, limits).await;
    let mut found = found.map_err(|error| state.fail(error))?;
    let has_more = found.messages.len() > messages;
    found.messages.truncate(messages);
    let next = found.messages.last().filter(|_| has_more).map(|last| last.id);
    let title = |found: store::search::FoundTitle| FoundTitle {
        id: found.id,
        title: query.marked(&found.title),
        updated_at: found.updated_at,
        is_archived: found.is_archived,
    };
    let message = |found: store::search::FoundMessage| FoundMessage {
        id: found.id,
        conversation_id: found.conversation_id,
        excerpt: excerpt(&query, &found),
        title: found.title,
        is_archived: found.is_archived,
        role: found.role,
        created_at: found.created_at,
    };
    let titles = found.titles.into_iter().map(title).collect();
    let messages = found.messages.into_iter().map(message).collect();
    Ok(SearchView { text, titles, messages, next, is_later })
}

/// Returns the part of a message around its first match. Responses are shown without their Markdown, unless only that matches, such as the
/// address of a link.
fn excerpt(query: &SearchQuery, found: &store::search::FoundMessage) -> Vec<Piece> {
    if found.role == Role::Assistant {
        let plain = catch_unwind(|| markdown::plain_text(&found.text)).unwrap_or_default();
        let shown = query.excerpt(&plain);
        if shown.iter().any(|piece| piece.is_match) {
            return shown;
        }
    }
    query.excerpt(&found.text)
}

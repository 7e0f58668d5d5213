//! Loads the lists of conversations.

use super::{PageState, Refusal, refuse};
use crate::view::conversation_list::{
    ArchivedConversation, ArchivedList, ConversationList, ConversationSummary, EditableConversation, LastActive,
    ListGroup, ListPosition,
};
use domain::{ConversationId, Problem, Viewer};
use store::conversation::Conversation;

/// Number of conversations on a page of a list. The sidebar's first page has the pinned ones as well.
const PAGE: usize = 50;

/// Loads the sidebar's list: its first page, or the one after a position. The first page always has the open conversation, unless
/// that is temporary.
///
/// # Errors
/// Returns a problem if a query fails.
pub async fn conversation_list(
    state: &PageState,
    viewer: &Viewer,
    after: Option<ListPosition>,
    open: Option<ConversationId>,
) -> Result<ConversationList, Refusal> {
    let fail = |error| state.fail(error);
    let today = store::local_time::start_of_today(&state.db, &viewer.time_zone, (state.now)()).await.map_err(fail)?;
    let mut conversations = Vec::new();
    if after.is_none() {
        let pinned = store::conversation::list_pinned(&state.db, viewer.user_id).await.map_err(fail)?;
        conversations.extend(pinned.into_iter().map(|found| (ListGroup::Pinned, summary(found))));
    }
    let position = after.map(|after| (after.at, after.id));
    let rows = store::conversation::list(&state.db, viewer.user_id, position, limit()).await.map_err(fail)?;
    let (rows, next) = page(rows, |row| Some(row.updated_at));
    let group = |at| ListGroup::Active(LastActive::of(at, today));
    conversations.extend(rows.into_iter().map(|row| (group(row.updated_at), summary(row))));
    let is_shown = |id: ConversationId| conversations.iter().any(|(_, shown)| shown.id == id);
    if let Some(id) = open.filter(|id| after.is_none() && !is_shown(*id)) {
        let found = store::conversation::open(&state.db, viewer.user_id, id).await.map_err(fail)?;
        let settings = store::chat_settings::load(&state.db, viewer.user_id, id).await.map_err(fail)?;
        let is_temporary = settings.is_some_and(|settings| settings.is_temporary);
        conversations.extend(found.filter(|_| !is_temporary).map(|found| (ListGroup::Open, summary(found))));
    }
    Ok(ConversationList { conversations, continues: after.map(|after| group(after.at)), next })
}

/// Loads a page of the archived conversations.
pub(crate) async fn archived_conversations(
    state: &PageState,
    viewer: &Viewer,
    after: Option<ListPosition>,
) -> Result<ArchivedList, Refusal> {
    let position = after.map(|after| (after.at, after.id));
    let rows = store::conversation::list_archived(&state.db, viewer.user_id, position, limit()).await;
    let (rows, next) = page(rows.map_err(|error| state.fail(error))?, |row| row.archived_at);
    let archived = |row: Conversation| {
        let archived_at = row.archived_at?;
        Some(ArchivedConversation { conversation: summary(row), archived_at })
    };
    Ok(ArchivedList { conversations: rows.into_iter().filter_map(archived).collect(), next })
}

/// Loads a conversation to change it. Returns a 404 if it isn't the viewer's.
pub(crate) async fn editable_conversation(
    state: &PageState,
    viewer: &Viewer,
    id: ConversationId,
) -> Result<EditableConversation, Refusal> {
    let found = store::conversation::open(&state.db, viewer.user_id, id).await.map_err(|error| state.fail(error))?;
    let found = found.ok_or_else(|| refuse(Problem::not_found("conversation")))?;
    let (is_pinned, is_archived) = (found.pinned_at.is_some(), found.archived_at.is_some());
    Ok(EditableConversation { conversation: summary(found), is_pinned, is_archived })
}

fn summary(found: Conversation) -> ConversationSummary {
    ConversationSummary { id: found.id, title: found.title }
}

/// One more than a page shows whether another one follows.
fn limit() -> i64 {
    i64::try_from(PAGE).unwrap_or(i64::MAX).saturating_add(1)
}

/// Cuts rows to a page. Returns its end too, if another one follows.
fn page(
    mut rows: Vec<Conversation>,
    time: impl Fn(&Conversation) -> Option<time::OffsetDateTime>,
) -> (Vec<Conversation>, Option<ListPosition>) {
    let has_more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let last = rows.last().filter(|_| has_more);
    let next = last.and_then(|last| Some(ListPosition { at: time(last)?, id: last.id }));
    (rows, next)
}

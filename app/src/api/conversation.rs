//! Conversations and their messages.

use super::Refusal;
use crate::view::conversation::ChatView;
use crate::view::conversation_list::{ArchivedList, EditableConversation, ListPosition};
use domain::{ConversationId, MessageId, PresetId};
use leptos::prelude::*;

/// Loads the chat page for an existing or a new conversation.
#[server(prefix = "/fn", endpoint = "chat_view")]
pub async fn open(
    /// The conversation to open; `None` for a new one.
    id: Option<ConversationId>,
    /// The message before which messages are shown; `None` shows the latest ones.
    before: Option<MessageId>,
    /// The message that must be among those that are shown; `None` for any.
    with: Option<MessageId>,
    /// The end of the sidebar's page before the one to show; `None` shows its first page.
    after: Option<ListPosition>,
    /// The preset whose settings a new conversation starts with.
    preset: Option<PresetId>,
) -> Result<ChatView, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::chat_view(&state, &viewer, id, (before, with), after, preset).await
}

/// Loads a page of the archived conversations.
#[server(prefix = "/fn", endpoint = "archived_conversations")]
pub async fn archived(
    /// The end of the page before; `None` for the first page.
    after: Option<ListPosition>,
) -> Result<ArchivedList, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::archived_conversations(&state, &viewer, after).await
}

/// Loads a conversation to change it.
#[server(prefix = "/fn", endpoint = "editable_conversation")]
pub async fn editable(
    /// The conversation.
    id: ConversationId,
) -> Result<EditableConversation, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::editable_conversation(&state, &viewer, id).await
}

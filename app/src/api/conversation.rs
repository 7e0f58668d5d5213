//! Conversations and their messages.

use super::Refusal;
use crate::view::conversation::ChatView;
use domain::{ConversationId, MessageId};
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
) -> Result<ChatView, Refusal> {
    let (state, viewer) = (super::context::page_state()?, super::context::viewer()?);
    super::context::chat_view(&state, &viewer, id, (before, with)).await
}

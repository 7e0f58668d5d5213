//! Conversations and their messages.

use super::Refusal;
use domain::{ConversationId, Message, ModelName, Quota, TurnId};
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// A line of the sidebar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its key.
    pub id: ConversationId,
    /// The time to first token said in it.
    pub title: String,
}

/// A model in the picker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The provider's name for it.
    pub name: ModelName,
    /// The name users read.
    pub label: String,
    /// Whether the viewer's plan allows it.
    pub allowed: bool,
    /// Whether it is the built-in one.
    pub is_demo: bool,
}

/// Everything the chat page shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatView {
    /// The viewer's conversations.
    pub listed: Vec<Listed>,
    /// The one that is open; none for a new one.
    pub open: Option<Listed>,
    /// What was said in it.
    pub messages: Vec<Message>,
    /// A turn that still runs in it.
    pub running: Option<(TurnId, ModelName)>,
    /// What can be asked, the plan's default first.
    pub models: Vec<Choice>,
    /// What is left; none while the meters are away.
    pub quota: Option<Quota>,
}

/// The chat page: an open conversation, or a new one.
#[server(prefix = "/fn", endpoint = "chat_view")]
pub async fn open(
    /// Which; none for a new one.
    id: Option<ConversationId>,
) -> Result<ChatView, Refusal> {
    super::context::chat_view(id).await
}

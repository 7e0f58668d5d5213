//! Conversations and the chat page.

use domain::{ConversationId, Message, ModelName, Quota, TurnId};
use serde::{Deserialize, Serialize};

/// A conversation in the sidebar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationSummary {
    /// The conversation's id.
    pub id: ConversationId,
    /// First line of the conversation's first message, at most 80 characters.
    pub title: String,
}

/// A model in the model picker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvailableModel {
    /// The model's name in the provider's API.
    pub name: ModelName,
    /// Display name.
    pub label: String,
    /// Whether the viewer's plan allows it.
    pub allowed: bool,
    /// Whether it is the built-in demo model.
    pub is_demo: bool,
    /// The reasoning efforts that can be chosen, lowest first; empty if the model has no such setting.
    pub efforts: Vec<String>,
}

/// The data of the chat page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatView {
    /// The viewer's conversations, most recently active first.
    pub conversations: Vec<ConversationSummary>,
    /// The open conversation; `None` for a new one.
    pub open: Option<ConversationSummary>,
    /// Messages of the open conversation.
    pub messages: Vec<Message>,
    /// The turn in progress in the open conversation, with its model.
    pub running: Option<(TurnId, ModelName)>,
    /// Models that can be used now, in the plan's order, with the default first and those it doesn't include last.
    pub models: Vec<AvailableModel>,
    /// The remaining quota; `None` if the meters are unavailable.
    pub quota: Option<Quota>,
}

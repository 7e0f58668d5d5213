//! Conversations and the chat page.

use super::conversation_list::{ConversationList, ConversationSummary};
use domain::{Attachment, ChatSettings, Message, MessageId, ModelName, PresetId, Quota, TurnId};
use serde::{Deserialize, Serialize};

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
    /// Whether it reads images.
    pub takes_images: bool,
}

/// The data of the chat page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatView {
    /// The sidebar's list.
    pub conversations: ConversationList,
    /// Whether a model writes the title of a new conversation after its first response.
    pub writes_titles: bool,
    /// The open conversation; `None` for a new one.
    pub open: Option<ConversationSummary>,
    /// Messages of a path of the open conversation, oldest first: a part of them.
    pub messages: Vec<MessageView>,
    /// The oldest of `messages`, if there are earlier ones.
    pub earlier: Option<MessageId>,
    /// The settings of the open conversation, or those that a new one starts with.
    pub settings: ChatSettings,
    /// Whether the open conversation is temporary: not listed, and erased a day after its last message.
    pub is_temporary: bool,
    /// The viewer's presets with their names, by name.
    pub presets: Vec<(PresetId, String)>,
    /// Whether `messages` are earlier ones instead of the latest ones.
    pub is_earlier: bool,
    /// The end of the path that is shown; `None` if that is the visible one.
    pub branch: Option<MessageId>,
    /// The turn in progress at the end of the path that is shown, with its model.
    pub running: Option<(TurnId, ModelName)>,
    /// Models that can be used now, in the plan's order, with the default first and those it doesn't include last.
    pub models: Vec<AvailableModel>,
    /// The remaining quota; `None` if the meters are unavailable.
    pub quota: Option<Quota>,
    /// The server's clock, in milliseconds since 1970. Browsers derive turn ids from it, because a device's clock may be wrong.
    pub now_ms: u64,
}

/// A message of the transcript.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageView {
    /// The message.
    pub message: Message,
    /// The message before it; `None` for the first one.
    pub parent_id: Option<MessageId>,
    /// The message and its other versions, oldest first.
    pub versions: Vec<MessageId>,
    /// Its text as HTML.
    pub html: String,
    /// Its files, in order.
    pub files: Vec<Attachment>,
    /// The user's rating of the response; `None` if there is none.
    pub is_good: Option<bool>,
    /// Whether it is a response that was imported, which isn't rated.
    pub is_imported: bool,
}

/// A part of a conversation's messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagesView {
    /// The messages, oldest first.
    pub messages: Vec<MessageView>,
    /// The oldest of `messages`, if there are earlier ones.
    pub earlier: Option<MessageId>,
    /// Models that can be used now.
    pub models: Vec<AvailableModel>,
}

/// Escapes a text for HTML.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

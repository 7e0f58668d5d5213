//! Messages of users and models.

use crate::model::names;
use crate::{ConversationId, MessageId, ModelName, Outcome, Picos, Tokens, TurnId, UnknownName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use time::OffsetDateTime;

/// The author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The user.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// Returns the name used in the `message` table and by both providers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// How complete a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// Complete.
    Finished,
    /// Stopped by the user.
    Stopped,
    /// Cut off at the length limit.
    Truncated,
    /// The model declined to answer.
    Refused,
    /// Withheld by the provider's content filter, or cut off by it.
    Filtered,
    /// Ended with a call of a tool that was never offered.
    ToolCall,
    /// Interrupted by a failure.
    Failed,
}

names!(
    MessageStatus,
    "finished, stopped, truncated, refused, filtered, tool_call, failed",
    Finished => "finished",
    Stopped => "stopped",
    Truncated => "truncated",
    Refused => "refused",
    Filtered => "filtered",
    ToolCall => "tool_call",
    Failed => "failed"
);

impl MessageStatus {
    /// Parses a name that `as_str` returns; anything else becomes [`Self::Failed`].
    #[must_use]
    pub fn from_db(text: &str) -> Self {
        text.parse().unwrap_or(Self::Failed)
    }
}

impl From<Outcome> for MessageStatus {
    /// Returns the status of a message after a turn with this outcome.
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Finished => Self::Finished,
            Outcome::Stopped => Self::Stopped,
            Outcome::Truncated => Self::Truncated,
            Outcome::Refused => Self::Refused,
            Outcome::Filtered => Self::Filtered,
            Outcome::Failed | Outcome::Lost => Self::Failed,
        }
    }
}

/// What happened to the oldest messages of a conversation that no longer fits its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryCut {
    /// The model read a summary in their place.
    Summarized,
    /// The model didn't read them.
    Dropped,
}

impl HistoryCut {
    /// Returns the name used in the `turn` table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Summarized => "summarized",
            Self::Dropped => "dropped",
        }
    }

    /// Parses a name that `as_str` returns.
    #[must_use]
    pub fn from_db(text: &str) -> Option<Self> {
        [Self::Summarized, Self::Dropped].into_iter().find(|cut| cut.as_str() == text)
    }
}

/// A message as the transcript shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The message's id.
    pub id: MessageId,
    /// The conversation it belongs to.
    pub conversation_id: ConversationId,
    /// The turn that created it.
    pub turn_id: TurnId,
    /// The author.
    pub role: Role,
    /// The text, in Markdown.
    pub text: String,
    /// The model's reasoning, in plain text; empty if there is none.
    pub reasoning: String,
    /// What was left out of the conversation that the model read; `None` if nothing was.
    pub history_cut: Option<HistoryCut>,
    /// How complete it is.
    pub status: MessageStatus,
    /// The model that responded; `None` for a user's message.
    pub model: Option<ModelName>,
    /// Tokens of the whole turn, for responses.
    pub tokens: Option<Tokens>,
    /// Cost of the turn, for responses.
    pub cost: Option<Picos>,
    /// When it was created.
    pub created_at: OffsetDateTime,
}

/// One message of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptMessage {
    /// The author.
    pub role: Role,
    /// The text.
    pub text: String,
    /// Images that belong to it, in order. Only users' messages have any.
    pub images: Vec<PromptImage>,
}

impl PromptMessage {
    /// Creates a message without images.
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, text: text.into(), images: Vec::new() }
    }
}

/// An image of a prompt. Its bytes are shared: a prompt is copied to be counted and sent.
#[derive(Clone, PartialEq, Eq)]
pub struct PromptImage {
    /// Its media type, such as `image/png`.
    pub media_type: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The encoded image.
    pub data: Arc<[u8]>,
}

impl fmt::Debug for PromptImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} × {} pixels", self.media_type, self.width, self.height)
    }
}

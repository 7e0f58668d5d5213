//! Messages of users and models.

use crate::{ConversationId, MessageId, ModelName, Picos, Tokens, TurnId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The user.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// As the `message` table and both providers write it.
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
    /// Whole.
    Finished,
    /// Cut short by the user.
    Stopped,
    /// Cut short by its length limit.
    Truncated,
    /// Cut short by a failure.
    Failed,
}

impl MessageStatus {
    /// As the `message` table writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Truncated => "truncated",
            Self::Failed => "failed",
        }
    }

    /// Reads what `as_str` writes; anything else counts as failed.
    #[must_use]
    pub fn from_db(text: &str) -> Self {
        [Self::Finished, Self::Stopped, Self::Truncated]
            .into_iter()
            .find(|status| status.as_str() == text)
            .unwrap_or(Self::Failed)
    }
}

/// A message as the transcript shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its key.
    pub id: MessageId,
    /// Where it stands.
    pub conversation_id: ConversationId,
    /// The turn that made it.
    pub turn_id: TurnId,
    /// Who speaks.
    pub role: Role,
    /// What was said, Markdown.
    pub text: String,
    /// How complete it is.
    pub status: MessageStatus,
    /// Which model answered; none for the user's.
    pub model: Option<ModelName>,
    /// Tokens of the whole turn, for answers.
    pub tokens: Option<Tokens>,
    /// Cost of the turn, for answers.
    pub cost: Option<Picos>,
    /// When it was said.
    pub created_at: OffsetDateTime,
}

/// One message of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptMessage {
    /// Who speaks.
    pub role: Role,
    /// What was said.
    pub text: String,
}

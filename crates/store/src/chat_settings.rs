//! Users' settings for their conversations: instructions of an account, and the settings of a conversation.

use crate::Result;
use domain::{ChatSettings, ConversationId, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

/// Converts the columns of settings. The caller's query selects them by these names.
macro_rules! from_row {
    ($row:ident) => {
        domain::ChatSettings {
            instructions: $row.instructions,
            model: $row.model.map(domain::ModelName),
            effort: $row.effort,
            // A length that this release doesn't support is left to the model.
            answer_length: $row.answer_length.and_then(|length| length.parse().ok()),
        }
    };
}
pub(crate) use from_row;

/// Loads a user's instructions for all of their conversations; may be empty.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load_instructions(db: impl PgExecutor<'_>, owner: UserId) -> Result<String> {
    let found = sqlx::query_scalar!("select instructions from account where user_id = $1", Uuid::from(owner));
    Ok(found.fetch_optional(db).await?.unwrap_or_default())
}

/// Sets a user's instructions for all of their conversations, from the next message on.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set_instructions(db: impl PgExecutor<'_>, owner: UserId, instructions: &str) -> Result<()> {
    sqlx::query!("update account set instructions = $2 where user_id = $1", Uuid::from(owner), instructions)
        .execute(db)
        .await?;
    Ok(())
}

/// A conversation's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversationSettings {
    /// The settings that its user has chosen.
    pub settings: ChatSettings,
    /// Whether it isn't listed and is erased a day after its last message.
    pub is_temporary: bool,
}

/// Loads a conversation's settings. Returns `None` if it doesn't exist or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
) -> Result<Option<ConversationSettings>> {
    let row = sqlx::query!(
        "select instructions, model, effort, answer_length, is_temporary from conversation
         where user_id = $1 and conversation_id = $2 and deleted_at is null",
        Uuid::from(owner),
        Uuid::from(conversation),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| ConversationSettings { is_temporary: row.is_temporary, settings: from_row!(row) }))
}

/// Sets a conversation's settings, from its next message on. Returns false if it doesn't exist or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    settings: &ChatSettings,
) -> Result<bool> {
    let done = sqlx::query!(
        "update conversation set instructions = $3, model = $4, effort = $5, answer_length = $6
         where user_id = $1 and conversation_id = $2 and deleted_at is null",
        Uuid::from(owner),
        Uuid::from(conversation),
        settings.instructions,
        settings.model.as_ref().map(|model| model.0.as_str()),
        settings.effort,
        settings.answer_length.map(domain::AnswerLength::as_str),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The instructions and settings of a turn's prompt, which [`crate::turn::load_chat_context`] loads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnSettings {
    /// The user's instructions for all of their conversations; may be empty.
    pub account_instructions: String,
    /// The settings of the turn's conversation; defaults if it doesn't exist or belongs to another user.
    pub conversation: ChatSettings,
}

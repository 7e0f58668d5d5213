//! Conversations, each owned by one user.

use crate::Result;
use domain::{ConversationId, MessageId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// A conversation in the sidebar.
pub struct Conversation {
    /// Conversation id.
    pub id: ConversationId,
    /// Title. Taken from the first message until the user renames the conversation.
    pub title: String,
    /// Time of the last message.
    pub updated_at: OffsetDateTime,
}

/// Lists a user's conversations, most recently updated first, at most `limit`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, owner: UserId, limit: i64) -> Result<Vec<Conversation>> {
    let rows = sqlx::query!(
        "select conversation_id, title, updated_at from conversation where user_id = $1 order by updated_at desc limit $2",
        Uuid::from(owner),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Conversation { id: row.conversation_id.into(), title: row.title, updated_at: row.updated_at })
        .collect())
}

/// Loads one conversation. Returns `None` if it doesn't exist or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn open(db: impl PgExecutor<'_>, owner: UserId, id: ConversationId) -> Result<Option<Conversation>> {
    let row = sqlx::query!(
        "select conversation_id, title, updated_at from conversation where user_id = $1 and conversation_id = $2",
        Uuid::from(owner),
        Uuid::from(id),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Conversation { id: row.conversation_id.into(), title: row.title, updated_at: row.updated_at }))
}

/// Deletes a conversation and its messages. Returns false if it doesn't exist or belongs to another user. The ledger and the meters are
/// not affected.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn delete(db: impl PgExecutor<'_>, owner: UserId, id: ConversationId) -> Result<bool> {
    let done = sqlx::query!(
        "delete from conversation where user_id = $1 and conversation_id = $2",
        Uuid::from(owner),
        Uuid::from(id),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A conversation in its user's export.
pub struct ExportedConversation {
    /// Conversation id.
    pub id: ConversationId,
    /// Title.
    pub title: String,
    /// When it was started.
    pub created_at: OffsetDateTime,
    /// Time of the last message.
    pub updated_at: OffsetDateTime,
    /// The last message of the visible path; `None` in an empty conversation.
    pub leaf_id: Option<MessageId>,
}

/// Loads the next page of a user's conversations, oldest first, at most `limit`: those after the last one of the previous page.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn next(
    db: impl PgExecutor<'_>,
    owner: UserId,
    after: Option<ConversationId>,
    limit: i64,
) -> Result<Vec<ExportedConversation>> {
    let rows = sqlx::query!(
        "select conversation_id, title, created_at, updated_at, leaf_id from conversation
         where user_id = $1 and conversation_id > $2 order by conversation_id limit $3",
        Uuid::from(owner),
        after.map_or(Uuid::nil(), Uuid::from),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ExportedConversation {
            id: row.conversation_id.into(),
            title: row.title,
            created_at: row.created_at,
            updated_at: row.updated_at,
            leaf_id: row.leaf_id.map(Into::into),
        })
        .collect())
}

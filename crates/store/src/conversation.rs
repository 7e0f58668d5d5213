//! Conversations, each owned by one user.

use crate::Result;
use domain::{ConversationId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// One line of the sidebar.
pub struct Conversation {
    /// Its key.
    pub id: ConversationId,
    /// The time to first token said in it, until the user renames it.
    pub title: String,
    /// When something was last said.
    pub updated_at: OffsetDateTime,
}

/// A user's conversations, the latest first.
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

/// One conversation; none where it doesn't exist or is somebody else's.
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

/// Deletes a conversation and its words; false where it isn't theirs. Ledger and meters don't notice.
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

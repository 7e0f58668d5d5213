//! Summaries of the oldest messages of conversations that no longer fit their model.

use crate::Result;
use domain::{ConversationId, MessageId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// A summary of a conversation's oldest messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The newest message that it covers.
    pub until: MessageId,
    /// The summary.
    pub text: String,
}

/// Loads a conversation's newest summary, if there is one. It covers the path from the root to its newest message, which may be in another
/// branch than the visible one. The caller has checked that the conversation belongs to its user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load(db: impl PgExecutor<'_>, conversation: ConversationId) -> Result<Option<Summary>> {
    let row = sqlx::query!(
        "select until_message_id, body from conversation_summary where conversation_id = $1",
        Uuid::from(conversation),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Summary { until: row.until_message_id.into(), text: row.body }))
}

/// Stores a conversation's summary in place of the one before. Does nothing if the conversation no longer exists.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn save(
    db: impl PgExecutor<'_>,
    conversation: ConversationId,
    until: MessageId,
    text: &str,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "insert into conversation_summary (conversation_id, until_message_id, body, created_at)
         select conversation_id, $2, $3, $4 from conversation where conversation_id = $1 for key share
         on conflict (conversation_id) do update set
           until_message_id = excluded.until_message_id, body = excluded.body, created_at = excluded.created_at",
        Uuid::from(conversation),
        Uuid::from(until),
        text,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

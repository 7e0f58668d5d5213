//! Messages in their user's export.

use crate::Result;
use domain::{ConversationId, MessageId, UserId};
use serde::Serialize;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// A message in its user's export.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedMessage {
    /// Message id.
    pub message_id: Uuid,
    /// The message before it; `None` for the first one of a conversation.
    pub parent_id: Option<Uuid>,
    /// The turn that wrote it.
    pub turn_id: Uuid,
    /// Its author: `user` or `assistant`.
    pub role: String,
    /// The text, in Markdown.
    pub text: String,
    /// The model's reasoning; empty if there is none.
    pub reasoning: String,
    /// How complete it is.
    pub status: String,
    /// The model that responded; `None` for a user's message.
    pub model: Option<String>,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Maximum number of messages in a page of an export, and of bytes of their text, which one more message may exceed.
const PAGE_MESSAGES: i64 = 100;
const PAGE_BYTES: i64 = 1024 * 1024;

/// Loads the next page of a conversation's messages, those of all branches, oldest first: those after the last one of the previous page.
/// Empty at the end, and if the conversation belongs to another user. A page is bounded in messages and in bytes.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn next(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    after: Option<MessageId>,
) -> Result<Vec<ExportedMessage>> {
    Ok(sqlx::query_as!(
        ExportedMessage,
        r#"select message_id as "message_id!", parent_id as "parent_id?", turn_id as "turn_id!", role as "role!", body as "text!",
                  reasoning as "reasoning!", status as "status!", model as "model?", created_at as "created_at!"
           from (
             select *, sum(octet_length(body) + octet_length(reasoning)) over (order by message_id)
                       - octet_length(body) - octet_length(reasoning) as bytes_before
             from (
               select m.* from conversation c join message m using (conversation_id)
               where c.user_id = $1 and c.conversation_id = $2 and m.message_id > $3
               order by m.message_id limit $4
             ) found
           ) page
           where bytes_before < $5 order by message_id"#,
        Uuid::from(owner),
        Uuid::from(conversation),
        after.map_or(Uuid::nil(), Uuid::from),
        PAGE_MESSAGES,
        PAGE_BYTES,
    )
    .fetch_all(db)
    .await?)
}

/// Loads the next page of a conversation's visible path, in order, as [`next`] does for all branches.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn next_on_path(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    after: Option<MessageId>,
) -> Result<Vec<ExportedMessage>> {
    Ok(sqlx::query_as!(
        ExportedMessage,
        r#"with recursive path as (
             select m.message_id, m.parent_id, 1 as position
             from conversation c join message m on m.conversation_id = c.conversation_id and m.message_id = c.leaf_id
             where c.user_id = $1 and c.conversation_id = $2
             union all
             select m.message_id, m.parent_id, path.position + 1 from path join message m on m.message_id = path.parent_id
             where path.message_id is distinct from $3
           )
           select message_id as "message_id!", parent_id as "parent_id?", turn_id as "turn_id!", role as "role!", body as "text!",
                  reasoning as "reasoning!", status as "status!", model as "model?", created_at as "created_at!"
           from (
             select *, sum(octet_length(body) + octet_length(reasoning)) over (order by position desc)
                       - octet_length(body) - octet_length(reasoning) as bytes_before
             from (
               select m.*, path.position from path join message m on m.message_id = path.message_id
               where path.message_id is distinct from $3
               order by path.position desc limit $4
             ) found
           ) page
           where bytes_before < $5 order by position desc"#,
        Uuid::from(owner),
        Uuid::from(conversation),
        after.map(Uuid::from),
        PAGE_MESSAGES,
        PAGE_BYTES,
    )
    .fetch_all(db)
    .await?)
}

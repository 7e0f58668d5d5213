//! Conversations and messages as they are exported and copied. `docs/conversations.md` describes the files.

use crate::Result;
use domain::{ConversationId, MessageId, UserId};
use serde::{Deserialize, Serialize};
use sqlx::PgExecutor;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

/// Maximum number of messages in a page, and of bytes of their text, which one more message may exceed.
const PAGE_MESSAGES: i64 = 100;
const PAGE_BYTES: i64 = 1024 * 1024;

/// A conversation in its user's export.
pub struct ExportedConversation {
    /// Conversation id.
    pub id: ConversationId,
    /// Title.
    pub title: String,
    /// The last message of the visible path; `None` in an empty conversation.
    pub leaf_id: Option<MessageId>,
    /// When it was started.
    pub created_at: OffsetDateTime,
    /// Time of the last message.
    pub updated_at: OffsetDateTime,
}

/// A file that was sent with an exported message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportedFile {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its size.
    pub bytes: i64,
}

/// A message in its user's export.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedMessage {
    /// Message id. Messages sort by it.
    pub message_id: Uuid,
    /// The message before it in the tree; `None` for a first message.
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
    /// Files that were sent with it, without their content.
    pub files: Json<Vec<ExportedFile>>,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Loads the next page of a user's conversations, oldest first, at most `limit`: those after the last one of the previous page.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn conversations(
    db: impl PgExecutor<'_>,
    owner: UserId,
    after: Option<ConversationId>,
    limit: i64,
) -> Result<Vec<ExportedConversation>> {
    let rows = sqlx::query!(
        "select conversation_id, title, leaf_id, created_at, updated_at from conversation
         where user_id = $1 and conversation_id > $2 and deleted_at is null order by conversation_id limit $3",
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
            leaf_id: row.leaf_id.map(Into::into),
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
        .collect())
}

/// Loads a conversation. Returns `None` if it doesn't exist or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn conversation(
    db: impl PgExecutor<'_>,
    owner: UserId,
    id: ConversationId,
) -> Result<Option<ExportedConversation>> {
    let row = sqlx::query!(
        "select title, leaf_id, created_at, updated_at from conversation
         where user_id = $1 and conversation_id = $2 and deleted_at is null",
        Uuid::from(owner),
        Uuid::from(id),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| ExportedConversation {
        id,
        title: row.title,
        leaf_id: row.leaf_id.map(Into::into),
        created_at: row.created_at,
        updated_at: row.updated_at,
    }))
}

/// Loads the next page of a conversation's messages, of all branches, by their ids: those after the last one of the previous page. Empty at
/// the end, and if the conversation belongs to another user. A page is bounded in messages and in bytes.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn messages(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    after: Option<MessageId>,
) -> Result<Vec<ExportedMessage>> {
    Ok(sqlx::query_as!(
        ExportedMessage,
        r#"select message_id as "message_id!", parent_id as "parent_id?", turn_id as "turn_id!", role as "role!", body as "text!",
                  reasoning as "reasoning!", status as "status!", model as "model?", created_at as "created_at!",
                  (select coalesce(json_agg(json_build_object('name', a.name, 'media_type', a.media_type, 'bytes', a.bytes)
                                            order by a.position), '[]')
                   from attachment a where a.message_id = any(array[page.message_id, page.files_of])) as "files!: Json<Vec<ExportedFile>>"
           from (
             select *, sum(octet_length(body) + octet_length(reasoning)) over (order by message_id)
                       - octet_length(body) - octet_length(reasoning) as bytes_before
             from (
               select m.* from conversation c join message m using (conversation_id)
               where c.user_id = $1 and c.conversation_id = $2 and c.deleted_at is null and m.message_id > $3
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

/// A part of a path, in order.
pub struct PathPage {
    /// The messages.
    pub messages: Vec<ExportedMessage>,
    /// Number of messages between the last one and the end of the path. The next page begins there.
    pub left: i32,
}

/// Loads the next page of the messages from a conversation's first one to `leaf`, in order: those with fewer than `left` messages after
/// them. Empty at the end, and if the conversation belongs to another user. A page is bounded in messages and in bytes.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn path(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    leaf: MessageId,
    left: i32,
) -> Result<PathPage> {
    let rows = sqlx::query!(
        r#"with recursive path as (
             select m.message_id, m.parent_id, 0 as distance from conversation c join message m using (conversation_id)
             where c.user_id = $1 and c.conversation_id = $2 and c.deleted_at is null and m.message_id = $3
             union all
             select m.message_id, m.parent_id, p.distance + 1 from path p join message m on m.message_id = p.parent_id
             where m.conversation_id = $2
           )
           select message_id as "message_id!", parent_id as "parent_id?", turn_id as "turn_id!", role as "role!", body as "text!",
                  reasoning as "reasoning!", status as "status!", model as "model?", created_at as "created_at!", distance as "distance!",
                  (select coalesce(json_agg(json_build_object('name', a.name, 'media_type', a.media_type, 'bytes', a.bytes)
                                            order by a.position), '[]')
                   from attachment a where a.message_id = any(array[page.message_id, page.files_of])) as "files!: Json<Vec<ExportedFile>>"
           from (
             select *, sum(octet_length(body) + octet_length(reasoning)) over (order by distance desc)
                       - octet_length(body) - octet_length(reasoning) as bytes_before
             from (
               select m.*, p.distance from path p join message m using (message_id)
               where p.distance < $4 order by p.distance desc limit $5
             ) found
           ) page
           where bytes_before < $6 order by distance desc"#,
        Uuid::from(owner),
        Uuid::from(conversation),
        Uuid::from(leaf),
        left,
        PAGE_MESSAGES,
        PAGE_BYTES,
    )
    .fetch_all(db)
    .await?;
    let left = rows.last().map_or(0, |row| row.distance);
    let messages = rows.into_iter().map(|row| ExportedMessage {
        message_id: row.message_id,
        parent_id: row.parent_id,
        turn_id: row.turn_id,
        role: row.role,
        text: row.text,
        reasoning: row.reasoning,
        status: row.status,
        model: row.model,
        files: row.files,
        created_at: row.created_at,
    });
    Ok(PathPage { messages: messages.collect(), left })
}

//! Branches of a conversation's tree: which one is visible, and where a message is.

use crate::Result;
use domain::{ConversationId, MessageId, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

/// Makes a message part of the visible path, which then continues with the newest messages after it. Returns false if the conversation doesn't
/// have the message, or belongs to another user. Turns in other branches continue.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn select_branch(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    message: MessageId,
) -> Result<bool> {
    let done = sqlx::query!(
        "update conversation c set leaf_id = newest_leaf(c.conversation_id, $3)
         where c.user_id = $1 and c.conversation_id = $2 and c.deleted_at is null
           and exists (select from message m where m.message_id = $3 and m.conversation_id = c.conversation_id)",
        Uuid::from(owner),
        Uuid::from(conversation),
        Uuid::from(message),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns whether a new question after `parent` would be another version of `question`; as a first one without `parent`. Returns `None` if the
/// conversation doesn't have the question, or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn is_version(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    question: MessageId,
    parent: Option<MessageId>,
) -> Result<Option<bool>> {
    let found = sqlx::query_scalar!(
        r#"select m.parent_id is not distinct from $4 as "is_version!" from message m join conversation c using (conversation_id)
           where c.user_id = $1 and c.conversation_id = $2 and c.deleted_at is null and m.message_id = $3 and m.role = 'user'"#,
        Uuid::from(owner),
        Uuid::from(conversation),
        Uuid::from(question),
        parent.map(Uuid::from),
    );
    Ok(found.fetch_optional(db).await?)
}

/// Returns the end of the path through a message, which continues with the newest messages after it. Returns `None` if the conversation doesn't
/// have the message, or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn newest_leaf(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Option<MessageId>> {
    let leaf = sqlx::query_scalar!(
        r#"select newest_leaf(c.conversation_id, $3) as "leaf_id?" from conversation c
           where c.user_id = $1 and c.conversation_id = $2 and c.deleted_at is null"#,
        Uuid::from(owner),
        Uuid::from(conversation),
        Uuid::from(message),
    );
    Ok(leaf.fetch_optional(db).await?.flatten().map(Into::into))
}

/// A message of a path.
pub struct Located {
    /// Number of messages after it.
    pub after: i64,
    /// The message that is `margin` messages after it; `None` if there are fewer.
    pub margin_end: Option<MessageId>,
}

/// Finds a message on the path to `leaf`; without one, on the visible path. Returns `None` if it isn't there, or if the conversation belongs to
/// another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn locate(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    message: MessageId,
    leaf: Option<MessageId>,
    margin: i32,
) -> Result<Option<Located>> {
    let row = sqlx::query!(
        r#"with recursive path as (
             select m.message_id, m.parent_id, 0 as after
             from conversation c join message m on m.conversation_id = c.conversation_id and m.message_id = coalesce($5, c.leaf_id)
             where c.user_id = $1 and c.conversation_id = $2 and c.deleted_at is null
             union all
             select m.message_id, m.parent_id, path.after + 1 from path join message m on m.message_id = path.parent_id
             where path.message_id <> $3
           )
           select f.after::bigint as "after!", (select message_id from path where path.after = f.after - $4) as margin_end
           from path f where f.message_id = $3"#,
        Uuid::from(owner),
        Uuid::from(conversation),
        Uuid::from(message),
        margin,
        leaf.map(Uuid::from),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Located { after: row.after, margin_end: row.margin_end.map(Into::into) }))
}

//! Conversations, each owned by one user. A deleted one is hidden at once and erased a minute later, so that its user can restore it.

use crate::Result;
use domain::{ConversationId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Maximum number of pinned conversations. Two requests at once may exceed it by one.
pub const MAX_PINNED: i64 = 100;

/// A conversation in the sidebar.
pub struct Conversation {
    /// Conversation id.
    pub id: ConversationId,
    /// Title. Taken from the first message until a model or the user writes another.
    pub title: String,
    /// Time of the last message.
    pub updated_at: OffsetDateTime,
    /// When it was pinned; `None` if it isn't.
    pub pinned_at: Option<OffsetDateTime>,
    /// When it was archived; `None` if it isn't.
    pub archived_at: Option<OffsetDateTime>,
}

/// Columns of a [`Conversation`] as they are read.
struct Row {
    conversation_id: Uuid,
    title: String,
    updated_at: OffsetDateTime,
    pinned_at: Option<OffsetDateTime>,
    archived_at: Option<OffsetDateTime>,
}

impl Row {
    fn conversation(self) -> Conversation {
        let Self { conversation_id, title, updated_at, pinned_at, archived_at } = self;
        Conversation { id: conversation_id.into(), title, updated_at, pinned_at, archived_at }
    }
}

/// The last conversation of a page of a list, after which the next page begins: its time and its id.
pub type Position = (OffsetDateTime, ConversationId);

/// Lists a user's conversations that are neither pinned nor archived, most recently updated first, at most `limit`: those after `after`.
/// Temporary ones are not listed.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(
    db: impl PgExecutor<'_>,
    owner: UserId,
    after: Option<Position>,
    limit: i64,
) -> Result<Vec<Conversation>> {
    let (at, id) = after.unzip();
    let rows = sqlx::query_as!(
        Row,
        "select conversation_id, title, updated_at, pinned_at, archived_at from conversation
         where user_id = $1 and deleted_at is null and pinned_at is null and archived_at is null
           and not is_temporary
           and ($2::timestamptz is null or (updated_at, conversation_id) < ($2, $3))
         order by updated_at desc, conversation_id desc limit $4",
        Uuid::from(owner),
        at,
        id.map(Uuid::from),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Row::conversation).collect())
}

/// Lists a user's pinned conversations, the one that was pinned last first.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_pinned(db: impl PgExecutor<'_>, owner: UserId) -> Result<Vec<Conversation>> {
    let rows = sqlx::query_as!(
        Row,
        "select conversation_id, title, updated_at, pinned_at, archived_at from conversation
         where user_id = $1 and deleted_at is null and not is_temporary and pinned_at is not null and archived_at is null
         order by pinned_at desc, conversation_id desc limit $2",
        Uuid::from(owner),
        2 * MAX_PINNED,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Row::conversation).collect())
}

/// Lists a user's archived conversations, the one that was archived last first, at most `limit`: those after `after`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_archived(
    db: impl PgExecutor<'_>,
    owner: UserId,
    after: Option<Position>,
    limit: i64,
) -> Result<Vec<Conversation>> {
    let (at, id) = after.unzip();
    let rows = sqlx::query_as!(
        Row,
        "select conversation_id, title, updated_at, pinned_at, archived_at from conversation
         where user_id = $1 and deleted_at is null and not is_temporary and archived_at is not null
           and ($2::timestamptz is null or (archived_at, conversation_id) < ($2, $3))
         order by archived_at desc, conversation_id desc limit $4",
        Uuid::from(owner),
        at,
        id.map(Uuid::from),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Row::conversation).collect())
}

/// Loads one conversation. Returns `None` if it doesn't exist, was deleted or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn open(db: impl PgExecutor<'_>, owner: UserId, id: ConversationId) -> Result<Option<Conversation>> {
    let row = sqlx::query_as!(
        Row,
        "select conversation_id, title, updated_at, pinned_at, archived_at from conversation
         where user_id = $1 and conversation_id = $2 and deleted_at is null",
        Uuid::from(owner),
        Uuid::from(id),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Row::conversation))
}

/// Sets a conversation's title by the user, which no model replaces. Returns false if it doesn't exist or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn rename(db: impl PgExecutor<'_>, owner: UserId, id: ConversationId, title: &str) -> Result<bool> {
    let done = sqlx::query!(
        "update conversation set title = $3, title_by = 'user' where user_id = $1 and conversation_id = $2 and deleted_at is null",
        Uuid::from(owner),
        Uuid::from(id),
        title,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Replaces the first words of a conversation's first message by the title that a model wrote. Returns false if the user has renamed it, or
/// it no longer exists.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set_model_title(db: impl PgExecutor<'_>, owner: UserId, id: ConversationId, title: &str) -> Result<bool> {
    let done = sqlx::query!(
        "update conversation set title = $3, title_by = 'model'
         where user_id = $1 and conversation_id = $2 and title_by = 'text' and deleted_at is null",
        Uuid::from(owner),
        Uuid::from(id),
        title,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns a conversation's title, and whether a model or the user wrote it. Returns `None` if it doesn't exist or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load_title(db: impl PgExecutor<'_>, owner: UserId, id: ConversationId) -> Result<Option<(String, bool)>> {
    let row = sqlx::query!(
        r#"select title, title_by <> 'text' as "is_written!" from conversation
           where user_id = $1 and conversation_id = $2 and deleted_at is null"#,
        Uuid::from(owner),
        Uuid::from(id),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (row.title, row.is_written)))
}

/// The result of pinning a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// It is pinned, or no longer pinned.
    Done,
    /// It doesn't exist or belongs to another user.
    NotFound,
    /// [`MAX_PINNED`] others are pinned.
    TooMany,
}

/// Pins a conversation, or unpins it. One that is pinned already keeps its place.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set_pinned(
    db: impl PgExecutor<'_>,
    owner: UserId,
    id: ConversationId,
    is_pinned: bool,
    now: OffsetDateTime,
) -> Result<Pinned> {
    let row = sqlx::query!(
        r#"with pins as (
             select count(*) as number from conversation
             where user_id = $1 and pinned_at is not null and deleted_at is null and conversation_id <> $2
           ), done as (
             update conversation set pinned_at = case when $3 then coalesce(pinned_at, $4) end
             where user_id = $1 and conversation_id = $2 and deleted_at is null and (not $3 or (select number from pins) < $5)
             returning conversation_id
           )
           select exists (select from done) as "is_done!",
                  exists (select from conversation where user_id = $1 and conversation_id = $2 and deleted_at is null) as "is_found!""#,
        Uuid::from(owner),
        Uuid::from(id),
        is_pinned,
        now,
        MAX_PINNED,
    )
    .fetch_one(db)
    .await?;
    Ok(match (row.is_done, row.is_found) {
        (true, _) => Pinned::Done,
        (false, true) => Pinned::TooMany,
        (false, false) => Pinned::NotFound,
    })
}

/// Archives a conversation, or moves it back to the list. Returns false if it doesn't exist or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set_archived(
    db: impl PgExecutor<'_>,
    owner: UserId,
    id: ConversationId,
    is_archived: bool,
    now: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "update conversation set archived_at = case when $3 then coalesce(archived_at, $4) end
         where user_id = $1 and conversation_id = $2 and deleted_at is null",
        Uuid::from(owner),
        Uuid::from(id),
        is_archived,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes a conversation: it is hidden at once, and erased by [`erase_deleted`]. Returns false if it doesn't exist or belongs to another
/// user. The ledger and the meters are not affected.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn delete(db: impl PgExecutor<'_>, owner: UserId, id: ConversationId, now: OffsetDateTime) -> Result<bool> {
    let done = sqlx::query!(
        "update conversation set deleted_at = $3 where user_id = $1 and conversation_id = $2 and deleted_at is null",
        Uuid::from(owner),
        Uuid::from(id),
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Restores a deleted conversation that isn't erased yet. Returns false if there is none, or it belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn restore(db: impl PgExecutor<'_>, owner: UserId, id: ConversationId) -> Result<bool> {
    let done = sqlx::query!(
        "update conversation set deleted_at = null where user_id = $1 and conversation_id = $2",
        Uuid::from(owner),
        Uuid::from(id),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Erases the conversations that were deleted before an instant, with their messages. Returns their number.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn erase_deleted(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<u64> {
    let done = sqlx::query!("delete from conversation where deleted_at < $1", before).execute(db).await?;
    Ok(done.rows_affected())
}

/// Erases up to `limit` conversations of a user with their messages. Returns their number.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn erase_some(db: impl PgExecutor<'_>, owner: UserId, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "delete from conversation where conversation_id in (select conversation_id from conversation where user_id = $1 limit $2)",
        Uuid::from(owner),
        limit,
    );
    Ok(done.execute(db).await?.rows_affected())
}

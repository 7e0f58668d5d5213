//! Read-only links to copies of conversations. The token of a link is stored as a hash.

use crate::attachment::{StorageUse, lock_storage, storage, to_db};
use crate::{Db, Result, begin};
use domain::{ConversationId, ShareId, SharedMessage, UserId};
use sqlx::PgExecutor;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

/// Maximum number of a user's links.
pub const MAX_SHARES: i64 = 200;

/// A link to create.
pub struct NewShare<'a> {
    /// Id of the link.
    pub id: ShareId,
    /// The conversation that is copied.
    pub conversation: ConversationId,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// The conversation's title.
    pub title: &'a str,
    /// The copied messages.
    pub messages: &'a [SharedMessage],
    /// Version of the renderer that wrote their HTML.
    pub html_version: i16,
    /// When it is created.
    pub now: OffsetDateTime,
    /// When the link ends; `None` is never.
    pub expires_at: Option<OffsetDateTime>,
}

/// The result of creating a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// It was created.
    Created,
    /// The conversation doesn't exist or belongs to another user.
    NotFound,
    /// The user already has [`MAX_SHARES`] links.
    TooMany,
    /// The plan's storage has no room for the copy.
    Full(StorageUse),
}

/// Creates a link to a copy of one of the user's conversations, which counts towards the storage of their plan. Their storage is locked, so that
/// links created at the same time don't exceed the limits.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn create(db: &Db, owner: UserId, share: &NewShare<'_>) -> Result<CreateOutcome> {
    let mut tx = begin(db).await?;
    lock_storage(&mut tx, owner).await?;
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from share where user_id = $1"#, Uuid::from(owner))
        .fetch_one(&mut tx)
        .await?;
    if count >= MAX_SHARES {
        return Ok(CreateOutcome::TooMany);
    }
    let bytes: usize = share.messages.iter().map(|message| message.text.len() + message.html.len()).sum();
    let (bytes, storage) = (u64::try_from(bytes).unwrap_or(u64::MAX), storage(&mut tx, owner).await?);
    if !storage.has_room(bytes) {
        return Ok(CreateOutcome::Full(storage));
    }
    let done = sqlx::query!(
        "insert into share (share_id, user_id, conversation_id, token_hash, title, content, html_version, created_at, expires_at, bytes)
         select $3, user_id, conversation_id, $4, $5, $6, $7, $8, $9, $10 from conversation
         where user_id = $1 and conversation_id = $2 and deleted_at is null",
        Uuid::from(owner),
        Uuid::from(share.conversation),
        Uuid::from(share.id),
        share.token_hash.as_slice(),
        share.title,
        Json(share.messages) as _,
        share.html_version,
        share.now,
        share.expires_at,
        to_db(bytes),
    )
    .execute(&mut tx)
    .await?;
    tx.commit().await?;
    Ok(if done.rows_affected() == 1 { CreateOutcome::Created } else { CreateOutcome::NotFound })
}

/// A link in its user's list.
pub struct Share {
    /// Id of the link.
    pub id: ShareId,
    /// The conversation that was copied.
    pub conversation_id: ConversationId,
    /// The conversation's title when it was copied.
    pub title: String,
    /// When the link was created.
    pub created_at: OffsetDateTime,
    /// When it ends; `None` is never.
    pub expires_at: Option<OffsetDateTime>,
}

/// Lists a user's links, newest first.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, owner: UserId) -> Result<Vec<Share>> {
    let rows = sqlx::query!(
        "select share_id, conversation_id, title, created_at, expires_at from share where user_id = $1
         order by created_at desc, share_id limit $2",
        Uuid::from(owner),
        MAX_SHARES,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Share {
            id: row.share_id.into(),
            conversation_id: row.conversation_id.into(),
            title: row.title,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
        .collect())
}

/// Deletes a link and its copy. Returns false if it doesn't exist or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn revoke(db: impl PgExecutor<'_>, owner: UserId, id: ShareId) -> Result<bool> {
    let done =
        sqlx::query!("delete from share where user_id = $1 and share_id = $2", Uuid::from(owner), Uuid::from(id))
            .execute(db)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// A copy that a link leads to.
pub struct SharedConversation {
    /// Id of the link.
    pub id: ShareId,
    /// The conversation's title.
    pub title: String,
    /// The copied messages.
    pub messages: Vec<SharedMessage>,
    /// Version of the renderer that wrote their HTML.
    pub html_version: i16,
    /// When it was copied.
    pub created_at: OffsetDateTime,
    /// When the link ends; `None` is never.
    pub expires_at: Option<OffsetDateTime>,
}

/// Loads the copy of a link by the hash of its token. Returns `None` if there is no such link, its conversation was deleted, or its user's
/// account is paused.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn open(db: impl PgExecutor<'_>, token_hash: &[u8; 32]) -> Result<Option<SharedConversation>> {
    let row = sqlx::query!(
        r#"select s.share_id, s.title, s.content as "content: Json<Vec<SharedMessage>>", s.html_version, s.created_at, s.expires_at
           from share s join conversation c using (conversation_id) join account a on a.user_id = s.user_id
           where s.token_hash = $1 and c.user_id = s.user_id and c.deleted_at is null and a.paused_at is null"#,
        token_hash.as_slice(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| SharedConversation {
        id: row.share_id.into(),
        title: row.title,
        messages: row.content.0,
        html_version: row.html_version,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }))
}

/// Stores the messages of a copy, whose HTML was rendered again.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn store_html(
    db: impl PgExecutor<'_>,
    id: ShareId,
    messages: &[SharedMessage],
    html_version: i16,
) -> Result<()> {
    sqlx::query!(
        "update share set content = $2, html_version = $3 where share_id = $1",
        Uuid::from(id),
        Json(messages) as _,
        html_version,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes links that ended before an instant.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<u64> {
    Ok(sqlx::query!("delete from share where expires_at < $1", before).execute(db).await?.rows_affected())
}

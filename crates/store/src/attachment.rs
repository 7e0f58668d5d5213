//! Files that users attach to messages. Their bytes are in `attachment_data` or in an object store.

use crate::{Db, Result, Tx};
use domain::{Attachment, AttachmentId, AttachmentKind, ConversationId, MessageId, Tokens, TurnId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// A file to store.
pub struct NewAttachment<'a> {
    /// The file as pages show it.
    pub file: &'a Attachment,
    /// What models read of a PDF or a text file.
    pub text: Option<&'a str>,
    /// Hash of the bytes.
    pub sha256: &'a [u8],
    /// The bytes; `None` if they are in the object store under `object_key`.
    pub data: Option<&'a [u8]>,
    /// The key in the object store.
    pub object_key: Option<&'a str>,
}

/// A user's use of storage: by files, by the text of imported conversations and by the copies of shared links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageUse {
    /// Bytes that count.
    pub used: u64,
    /// Maximum of their plan.
    pub limit: u64,
}

impl StorageUse {
    /// Returns whether this many more bytes fit.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        self.used.saturating_add(bytes) <= self.limit
    }
}

/// The result of storing a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The file was stored.
    Yes,
    /// The plan's storage has no room for it; nothing was written.
    Full(StorageUse),
}

/// Stores a file that belongs to no message yet, unless it exceeds the storage of its user's plan. The user's uploads are serialized, so that
/// uploads in parallel can't exceed the limit. Returns an error if the user doesn't exist.
///
/// # Errors
/// Returns an error if a query fails. Nothing is written then.
pub async fn add(db: &Db, owner: UserId, new: &NewAttachment<'_>, now: OffsetDateTime) -> Result<Stored> {
    let mut tx = crate::begin(db).await?;
    lock_storage(&mut tx, owner).await?;
    let storage = storage(&mut tx, owner).await?;
    let file = new.file;
    if !storage.has_room(file.bytes) {
        return Ok(Stored::Full(storage));
    }
    let side = |side: Option<u32>| side.and_then(|side| i32::try_from(side).ok());
    sqlx::query!(
        "insert into attachment (attachment_id, user_id, name, kind, media_type, bytes, width, height, text, tokens, sha256, object_key, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        Uuid::from(file.id),
        Uuid::from(owner),
        file.name,
        file.kind.as_str(),
        file.media_type,
        to_db(file.bytes),
        side(file.size.map(|(width, _)| width)),
        side(file.size.map(|(_, height)| height)),
        new.text,
        file.tokens.map(Tokens::to_db),
        new.sha256,
        new.object_key,
        now,
    )
    .execute(&mut tx)
    .await?;
    if let Some(data) = new.data {
        sqlx::query!("insert into attachment_data (attachment_id, data) values ($1, $2)", Uuid::from(file.id), data)
            .execute(&mut tx)
            .await?;
    }
    tx.commit().await?;
    Ok(Stored::Yes)
}

/// Locks a user's storage until the transaction ends, so that parallel writes can't exceed its limit.
pub(crate) async fn lock_storage(tx: &mut Tx, owner: UserId) -> Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(7020, hashtext($1::text))", owner.to_string()).execute(tx).await?;
    Ok(())
}

/// Converts a size to the type of its columns.
pub(crate) fn to_db(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn from_db(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}

/// Loads how much a user stores, and how much their plan allows.
///
/// # Errors
/// Returns an error if the query fails or the user doesn't exist.
pub async fn storage(db: impl PgExecutor<'_>, owner: UserId) -> Result<StorageUse> {
    let row = sqlx::query!(
        r#"select p.storage_bytes as "limit!",
                  ((select coalesce(sum(f.bytes), 0) from attachment f where f.user_id = a.user_id)
                   + (select coalesce(sum(s.bytes), 0) from share s where s.user_id = a.user_id)
                   + (select coalesce(sum(c.imported_bytes), 0) from conversation c
                      where c.user_id = a.user_id and c.imported_bytes > 0))::bigint as "used!"
           from account a join plan p using (plan_id) where a.user_id = $1"#,
        Uuid::from(owner),
    )
    .fetch_one(db)
    .await?;
    Ok(StorageUse { used: from_db(row.used), limit: from_db(row.limit) })
}

/// Deletes a file that belongs to no message. Returns false if it doesn't exist, was sent, or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn delete_unsent(db: impl PgExecutor<'_>, owner: UserId, id: AttachmentId) -> Result<bool> {
    let done = sqlx::query!(
        "delete from attachment where attachment_id = $1 and user_id = $2 and message_id is null",
        Uuid::from(id),
        Uuid::from(owner),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Detaches the files of a turn's message, which is about to be deleted: the user may send them again.
///
/// # Errors
/// Returns an error if the query fails.
pub(crate) async fn keep_unsent(db: impl PgExecutor<'_>, turn: TurnId) -> Result<()> {
    sqlx::query!(
        "update attachment set message_id = null where message_id in (select message_id from message where turn_id = $1)",
        Uuid::from(turn),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes the files that were uploaded before a time and never sent. Returns their number.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<u64> {
    let done = sqlx::query!("delete from attachment where message_id is null and created_at < $1", before);
    Ok(done.execute(db).await?.rows_affected())
}

/// Where a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// The bytes themselves.
    Here(Vec<u8>),
    /// In the object store, under this key.
    Object(String),
}

/// A file with its bytes.
#[derive(Clone, Debug)]
pub struct StoredFile {
    /// The file.
    pub file: Attachment,
    /// The message it belongs to; `None` until it is sent.
    pub message_id: Option<MessageId>,
    /// What models read of a PDF or a text file.
    pub text: Option<String>,
    /// Its bytes; `None` where only the text was loaded.
    pub data: Option<Bytes>,
}

struct Row {
    attachment_id: Uuid,
    message_id: Option<Uuid>,
    name: String,
    kind: String,
    media_type: String,
    bytes: i64,
    width: Option<i32>,
    height: Option<i32>,
    text: Option<String>,
    tokens: Option<i64>,
    object_key: Option<String>,
    data: Option<Vec<u8>>,
}

impl From<Row> for StoredFile {
    fn from(row: Row) -> Self {
        let side = |side: Option<i32>| side.and_then(|side| u32::try_from(side).ok());
        let data = row.data.map(Bytes::Here).or(row.object_key.map(Bytes::Object));
        Self {
            file: Attachment {
                id: row.attachment_id.into(),
                name: row.name,
                kind: AttachmentKind::from_db(&row.kind),
                media_type: row.media_type,
                bytes: from_db(row.bytes),
                size: side(row.width).zip(side(row.height)),
                tokens: row.tokens.map(Tokens::from_db),
            },
            message_id: row.message_id.map(Into::into),
            text: row.text,
            data,
        }
    }
}

/// Loads a file without its text; with its bytes if `with_bytes`, unless they are in the object store. Returns `None` if it doesn't exist, was
/// deleted with its conversation or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load(
    db: impl PgExecutor<'_>,
    owner: UserId,
    id: AttachmentId,
    with_bytes: bool,
) -> Result<Option<StoredFile>> {
    let row = sqlx::query_as!(
        Row,
        r#"select a.attachment_id, a.message_id, a.name, a.kind, a.media_type, a.bytes, a.width, a.height, null::text as text, a.tokens,
                  a.object_key, d.data as "data?"
           from attachment a left join attachment_data d on $3::boolean and d.attachment_id = a.attachment_id
           left join message m on m.message_id = a.message_id left join conversation c on c.conversation_id = m.conversation_id
           where a.attachment_id = $1 and a.user_id = $2 and c.deleted_at is null"#,
        Uuid::from(id),
        Uuid::from(owner),
        with_bytes,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Into::into))
}

/// Loads a user's files by their ids, in this order, with what models read of them: texts, and with `with_bytes` the bytes of images. Files of
/// other users and unknown ones are left out.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load_for_prompt(
    db: impl PgExecutor<'_>,
    owner: UserId,
    ids: &[AttachmentId],
    with_bytes: bool,
) -> Result<Vec<StoredFile>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| Uuid::from(*id)).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select a.attachment_id, a.message_id, a.name, a.kind, a.media_type, a.bytes, a.width, a.height, a.text, a.tokens,
                  case when $3 and a.kind = 'image' then a.object_key end as object_key, d.data as "data?"
           from unnest($1::uuid[]) with ordinality as wanted (attachment_id, position)
           join attachment a using (attachment_id)
           left join attachment_data d on $3::boolean and d.attachment_id = a.attachment_id and a.kind = 'image'
           where a.user_id = $2
           order by wanted.position"#,
        &ids,
        Uuid::from(owner),
        with_bytes,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Loads the files of messages with what models read of them: texts, but not the bytes of images. In the order of the messages and of the
/// files in each. An edited message has those of its first version.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_of_messages(
    db: impl PgExecutor<'_>,
    owner: UserId,
    messages: &[MessageId],
) -> Result<Vec<StoredFile>> {
    let ids: Vec<Uuid> = messages.iter().map(|id| Uuid::from(*id)).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select a.attachment_id, m.message_id as "message_id?", a.name, a.kind, a.media_type, a.bytes, a.width, a.height, a.text, a.tokens,
                  a.object_key, null::bytea as data
           from message m join attachment a on a.message_id = any(array[m.message_id, m.files_of])
           where m.message_id = any($1) and a.user_id = $2 order by m.message_id, a.position"#,
        &ids,
        Uuid::from(owner),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Lists the files of messages as pages show them, in the order of the messages and of the files in each.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_shown(
    db: impl PgExecutor<'_>,
    owner: UserId,
    messages: &[MessageId],
) -> Result<Vec<(MessageId, Attachment)>> {
    let ids: Vec<Uuid> = messages.iter().map(|id| Uuid::from(*id)).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select a.attachment_id, m.message_id as "message_id?", a.name, a.kind, a.media_type, a.bytes, a.width, a.height,
                  null::text as text, a.tokens, a.object_key, null::bytea as data
           from message m join attachment a on a.message_id = any(array[m.message_id, m.files_of])
           where m.message_id = any($1) and a.user_id = $2 order by m.message_id, a.position"#,
        &ids,
        Uuid::from(owner),
    )
    .fetch_all(db)
    .await?;
    let files = rows.into_iter().map(StoredFile::from);
    Ok(files.filter_map(|found| Some((found.message_id?, found.file))).collect())
}

/// Lists a page of a user's sent files for their export, after `after`, with the conversation of each, at most `limit`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn next(
    db: impl PgExecutor<'_>,
    owner: UserId,
    after: Option<AttachmentId>,
    limit: i64,
) -> Result<Vec<ExportedFile>> {
    let rows = sqlx::query!(
        "select a.attachment_id, a.message_id, m.conversation_id as \"conversation_id?\", a.name, a.bytes, a.media_type, a.created_at
         from attachment a left join message m using (message_id) left join conversation c using (conversation_id)
         where a.user_id = $1 and a.attachment_id > $2 and c.deleted_at is null order by a.attachment_id limit $3",
        Uuid::from(owner),
        after.map_or(Uuid::nil(), Uuid::from),
        limit,
    )
    .fetch_all(db)
    .await?;
    let files = rows.into_iter().map(|row| ExportedFile {
        id: row.attachment_id.into(),
        message_id: row.message_id.map(Into::into),
        conversation_id: row.conversation_id.map(Into::into),
        name: row.name,
        bytes: from_db(row.bytes),
        media_type: row.media_type,
        created_at: row.created_at,
    });
    Ok(files.collect())
}

/// A file in its user's export.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ExportedFile {
    /// Its id.
    #[serde(rename = "attachment_id")]
    pub id: AttachmentId,
    /// The message it belongs to; `None` until it is sent.
    pub message_id: Option<MessageId>,
    /// The conversation of that message.
    pub conversation_id: Option<ConversationId>,
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its media type.
    pub media_type: String,
    /// When it was uploaded.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

//! Imports of conversations from files, and the conversations that they write.

use crate::attachment::{StorageUse, lock_storage, storage};
use crate::{Db, Result, begin, interval};
use domain::{ConversationId, ImportId, MessageId, MessageStatus, Role, TurnId, UserId};
use sqlx::PgExecutor;
use std::collections::HashSet;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// The result of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportCounts {
    /// Conversations that were written.
    pub conversations: i32,
    /// Their messages.
    pub messages: i32,
    /// Conversations that were imported before, or are in the account.
    pub duplicates: i32,
    /// Conversations that couldn't be read or have no messages.
    pub skipped: i32,
}

/// An import in its user's list.
pub struct Import {
    /// Its progress.
    pub counts: ImportCounts,
    /// Whether it is in progress.
    pub is_running: bool,
    /// Why it has failed; `None` if it hasn't.
    pub error: Option<String>,
    /// When it was started.
    pub created_at: OffsetDateTime,
}

/// The error of an import whose server was stopped or crashed.
const INTERRUPTED: &str =
    "The import was interrupted. What was imported until then is kept. Upload the file again to import the rest.";

/// Starts a user's import. Returns false if another one is in progress. One whose server has crashed or was stopped is marked as failed.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn start(db: &Db, owner: UserId, id: ImportId, lease: Duration, now: OffsetDateTime) -> Result<bool> {
    let mut tx = begin(db).await?;
    sqlx::query!(
        "update import set status = 'failed', error = $2 where user_id = $1 and status = 'running' and alive_until < now()",
        Uuid::from(owner),
        INTERRUPTED,
    )
    .execute(&mut tx)
    .await?;
    let done = sqlx::query!(
        "insert into import (import_id, user_id, alive_until, created_at) values ($1, $2, now() + $3::interval, $4)
         on conflict (user_id) where status = 'running' do nothing",
        Uuid::from(id),
        Uuid::from(owner),
        interval(lease),
        now,
    )
    .execute(&mut tx)
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// Stores the progress of an import, and extends its lease.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn progress(
    db: impl PgExecutor<'_>,
    owner: UserId,
    id: ImportId,
    counts: ImportCounts,
    lease: Duration,
) -> Result<()> {
    sqlx::query!(
        "update import set conversations = $3, messages = $4, duplicates = $5, skipped = $6, alive_until = now() + $7::interval
         where user_id = $1 and import_id = $2 and status = 'running'",
        Uuid::from(owner),
        Uuid::from(id),
        counts.conversations,
        counts.messages,
        counts.duplicates,
        counts.skipped,
        interval(lease),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Ends an import, with the reason if it has failed.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn finish(
    db: impl PgExecutor<'_>,
    owner: UserId,
    id: ImportId,
    counts: ImportCounts,
    error: Option<&str>,
) -> Result<()> {
    sqlx::query!(
        "update import set status = case when $7::text is null then 'finished' else 'failed' end, error = $7,
                conversations = $3, messages = $4, duplicates = $5, skipped = $6
         where user_id = $1 and import_id = $2",
        Uuid::from(owner),
        Uuid::from(id),
        counts.conversations,
        counts.messages,
        counts.duplicates,
        counts.skipped,
        error,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lists a user's latest imports, newest first. One whose server has crashed or was stopped is listed as failed.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, owner: UserId, limit: i64) -> Result<Vec<Import>> {
    let rows = sqlx::query!(
        r#"select status, alive_until >= now() as "is_alive!", conversations, messages, duplicates, skipped, error, created_at
           from import where user_id = $1 order by created_at desc, import_id desc limit $2"#,
        Uuid::from(owner),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let is_running = row.status == "running";
            Import {
                counts: ImportCounts {
                    conversations: row.conversations,
                    messages: row.messages,
                    duplicates: row.duplicates,
                    skipped: row.skipped,
                },
                is_running: is_running && row.is_alive,
                error: if is_running && !row.is_alive { Some(INTERRUPTED.to_owned()) } else { row.error },
                created_at: row.created_at,
            }
        })
        .collect())
}

/// Deletes imports that were started before an instant. Their conversations are kept.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<u64> {
    Ok(sqlx::query!("delete from import where created_at < $1", before).execute(db).await?.rows_affected())
}

/// An imported message.
#[derive(Clone, Debug)]
pub struct ImportedMessage {
    /// Its new id.
    pub id: MessageId,
    /// The message before it in the tree; `None` for a first message.
    pub parent_id: Option<MessageId>,
    /// A turn id of its own, shared by a question and its first response.
    pub turn_id: TurnId,
    /// Its author.
    pub role: Role,
    /// The text, in Markdown.
    pub text: String,
    /// The model's reasoning; empty if there is none.
    pub reasoning: String,
    /// How complete it is.
    pub status: MessageStatus,
    /// The model that responded, as the file names it; `None` for a user's message.
    pub model: Option<String>,
    /// When it was written.
    pub created_at: OffsetDateTime,
}

/// An imported conversation.
#[derive(Clone, Debug)]
pub struct ImportedConversation {
    /// Its new id.
    pub id: ConversationId,
    /// The id that it had where it was exported, if that was an app like this one.
    pub exported_id: Option<ConversationId>,
    /// Hash of its content.
    pub hash: [u8; 32],
    /// Title.
    pub title: String,
    /// The messages, each after its parent.
    pub messages: Vec<ImportedMessage>,
    /// The last message of the visible path.
    pub leaf_id: MessageId,
    /// When it was started.
    pub created_at: OffsetDateTime,
    /// Time of the last message.
    pub updated_at: OffsetDateTime,
}

/// Returns those of the exported conversations that are still in the user's account, without newer messages in the file.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_present(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversations: &[ImportedConversation],
) -> Result<HashSet<ConversationId>> {
    let (ids, times): (Vec<Uuid>, Vec<OffsetDateTime>) =
        conversations.iter().filter_map(|found| Some((Uuid::from(found.exported_id?), found.updated_at))).unzip();
    let found = sqlx::query_scalar!(
        "select c.conversation_id from conversation c
         join unnest($2::uuid[], $3::timestamptz[]) as exported (id, updated_at) on c.conversation_id = exported.id
         where c.user_id = $1 and c.deleted_at is null and c.updated_at >= exported.updated_at",
        Uuid::from(owner),
        &ids,
        &times,
    )
    .fetch_all(db)
    .await?;
    Ok(found.into_iter().map(Into::into).collect())
}

impl ImportedConversation {
    /// Returns the size of its text in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.text.len() + message.reasoning.len()).sum()
    }
}

/// The result of writing imported conversations.
#[derive(Debug)]
pub enum WriteOutcome {
    /// These were written.
    Written(HashSet<ConversationId>),
    /// The plan's storage has no room for them; nothing was written.
    Full(StorageUse),
}

/// Writes conversations with their messages, all or none: their text counts towards the storage of their user's plan. Leaves out those whose
/// content was imported before.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn write(db: &Db, owner: UserId, conversations: &[ImportedConversation]) -> Result<WriteOutcome> {
    let ids: Vec<Uuid> = conversations.iter().map(|found| found.id.into()).collect();
    let titles: Vec<String> = conversations.iter().map(|found| found.title.clone()).collect();
    let hashes: Vec<Vec<u8>> = conversations.iter().map(|found| found.hash.to_vec()).collect();
    let created: Vec<OffsetDateTime> = conversations.iter().map(|found| found.created_at).collect();
    let updated: Vec<OffsetDateTime> = conversations.iter().map(|found| found.updated_at).collect();
    let bytes = conversations.iter().map(|found| i64::try_from(found.bytes()).unwrap_or(i64::MAX)).collect::<Vec<_>>();
    let mut tx = begin(db).await?;
    lock_storage(&mut tx, owner).await?;
    let written = sqlx::query_scalar!(
        "insert into conversation (conversation_id, user_id, title, title_by, import_hash, created_at, updated_at, imported_at, imported_bytes)
         select id, $1, title, 'user', hash, created_at, updated_at, now(), bytes
         from unnest($2::uuid[], $3::text[], $4::bytea[], $5::timestamptz[], $6::timestamptz[], $7::bigint[])
              as imported (id, title, hash, created_at, updated_at, bytes)
         on conflict (user_id, import_hash) where import_hash is not null do nothing
         returning conversation_id",
        Uuid::from(owner),
        &ids,
        &titles,
        &hashes,
        &created,
        &updated,
        &bytes,
    )
    .fetch_all(&mut tx)
    .await?;
    // With the conversations that were just written, unless all of them were imported before.
    let storage = storage(&mut tx, owner).await?;
    if !written.is_empty() && !storage.has_room(0) {
        let new = bytes_of_written(conversations, &written);
        return Ok(WriteOutcome::Full(StorageUse { used: storage.used.saturating_sub(new), ..storage }));
    }
    let written: HashSet<ConversationId> = written.into_iter().map(Into::into).collect();
    let kept: Vec<&ImportedConversation> = conversations.iter().filter(|found| written.contains(&found.id)).collect();
    write_messages(&mut tx, &kept).await?;
    let (ids, leaves): (Vec<Uuid>, Vec<Uuid>) =
        kept.iter().map(|found| (Uuid::from(found.id), Uuid::from(found.leaf_id))).unzip();
    sqlx::query!(
        "update conversation c set leaf_id = imported.leaf_id
         from unnest($2::uuid[], $3::uuid[]) as imported (id, leaf_id)
         where c.user_id = $1 and c.conversation_id = imported.id",
        Uuid::from(owner),
        &ids,
        &leaves,
    )
    .execute(&mut tx)
    .await?;
    tx.commit().await?;
    Ok(WriteOutcome::Written(written))
}

/// Returns the size of the conversations with these ids.
fn bytes_of_written(conversations: &[ImportedConversation], ids: &[Uuid]) -> u64 {
    let bytes: usize =
        conversations.iter().filter(|found| ids.contains(&found.id.into())).map(ImportedConversation::bytes).sum();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Writes the messages of conversations that were written in the same transaction.
async fn write_messages(db: impl PgExecutor<'_>, conversations: &[&ImportedConversation]) -> Result<()> {
    let all = || conversations.iter().flat_map(|found| &found.messages);
    let ids: Vec<Uuid> = all().map(|message| message.id.into()).collect();
    let of: Vec<Uuid> =
        conversations.iter().flat_map(|found| found.messages.iter().map(|_| Uuid::from(found.id))).collect();
    let parents: Vec<Option<Uuid>> = all().map(|message| message.parent_id.map(Uuid::from)).collect();
    let turns: Vec<Uuid> = all().map(|message| message.turn_id.into()).collect();
    let roles: Vec<String> = all().map(|message| message.role.as_str().to_owned()).collect();
    let texts: Vec<String> = all().map(|message| message.text.clone()).collect();
    let reasoning: Vec<String> = all().map(|message| message.reasoning.clone()).collect();
    let statuses: Vec<String> = all().map(|message| message.status.as_str().to_owned()).collect();
    let models: Vec<Option<String>> = all().map(|message| message.model.clone()).collect();
    let created: Vec<OffsetDateTime> = all().map(|message| message.created_at).collect();
    sqlx::query!(
        "insert into message (message_id, conversation_id, parent_id, turn_id, role, body, reasoning, status, model, created_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[],
                              $9::text[], $10::timestamptz[])",
        &ids,
        &of,
        &parents as &[Option<Uuid>],
        &turns,
        &roles,
        &texts,
        &reasoning,
        &statuses,
        &models as &[Option<String>],
        &created,
    )
    .execute(db)
    .await?;
    Ok(())
}

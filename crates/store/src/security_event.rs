//! Security events of accounts. Users see their own as recent activity.

use crate::Result;
use domain::{SecurityEvent, SecurityEventRow, UserId};
use serde::Serialize;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// An event to record.
pub struct NewEvent<'a> {
    /// The account it happened to; `None` if no account has the address that was entered.
    pub user_id: Option<UserId>,
    /// What happened.
    pub kind: SecurityEvent,
    /// Keyed hash of the client's address.
    pub origin: &'a str,
    /// The browser, as it describes itself. Only its first 200 characters are stored.
    pub user_agent: &'a str,
    /// When it happened.
    pub now: OffsetDateTime,
}

/// Records an event. An account that has just been deleted is left out of its row.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn add(db: impl PgExecutor<'_>, event: &NewEvent<'_>) -> Result<()> {
    sqlx::query!(
        "insert into security_event (security_event_id, user_id, kind, origin, user_agent, created_at)
         values ($1, (select user_id from account where user_id = $2), $3, $4, left($5, 200), $6)",
        Uuid::now_v7(),
        event.user_id.map(Uuid::from),
        event.kind.as_str(),
        event.origin,
        event.user_agent,
        event.now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lists a user's events since an instant, newest first, at most 100.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, owner: UserId, since: OffsetDateTime) -> Result<Vec<SecurityEventRow>> {
    let rows = sqlx::query!(
        "select kind, origin, user_agent, created_at from security_event
         where user_id = $1 and created_at >= $2 order by created_at desc, security_event_id desc limit 100",
        Uuid::from(owner),
        since,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            Some(SecurityEventRow {
                kind: SecurityEvent::from_db(&row.kind)?,
                origin: row.origin,
                user_agent: row.user_agent,
                created_at: row.created_at,
            })
        })
        .collect())
}

/// Counts a user's events of a kind since an instant.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn count(db: impl PgExecutor<'_>, owner: UserId, kind: SecurityEvent, since: OffsetDateTime) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"select count(*) as "events!" from security_event where user_id = $1 and kind = $2 and created_at >= $3"#,
        Uuid::from(owner),
        kind.as_str(),
        since,
    )
    .fetch_one(db)
    .await?)
}

/// Deletes events that are older than an instant and returns how many.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<u64> {
    Ok(sqlx::query!("delete from security_event where created_at < $1", before).execute(db).await?.rows_affected())
}

/// An event in its user's export.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedEvent {
    /// Event id.
    pub security_event_id: Uuid,
    /// What happened.
    pub kind: String,
    /// Keyed hash of the client's address.
    pub origin: String,
    /// The browser, as it describes itself.
    pub user_agent: String,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Loads the next page of a user's events, oldest first, at most `limit`: those after the last one of the previous page.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn next(
    db: impl PgExecutor<'_>,
    owner: UserId,
    after: Option<(OffsetDateTime, Uuid)>,
    limit: i64,
) -> Result<Vec<ExportedEvent>> {
    let (at, id) = after.unwrap_or((OffsetDateTime::UNIX_EPOCH, Uuid::nil()));
    Ok(sqlx::query_as!(
        ExportedEvent,
        "select security_event_id, kind, origin, user_agent, created_at from security_event
         where user_id = $1 and (created_at, security_event_id) > ($2, $3) order by created_at, security_event_id limit $4",
        Uuid::from(owner),
        at,
        id,
        limit,
    )
    .fetch_all(db)
    .await?)
}

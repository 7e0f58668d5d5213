//! Sessions. Only a hash of the cookie's token is stored.

use crate::Result;
use domain::{UserId, Viewer};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Stores a new session. Returns false if the token already exists.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn create(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    user_id: Option<UserId>,
    data: &serde_json::Value,
    expires_at: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "insert into session (token_hash, user_id, data, expires_at) values ($1, $2, $3, $4) on conflict do nothing",
        token_hash,
        user_id.map(Uuid::from),
        data,
        expires_at,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Updates an existing session. Does nothing if it was deleted in the meantime.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn save(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    user_id: Option<UserId>,
    data: &serde_json::Value,
    expires_at: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update session set user_id = $2, data = $3, expires_at = $4 where token_hash = $1",
        token_hash,
        user_id.map(Uuid::from),
        data,
        expires_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Loads a session's data and expiry. Returns `None` if the session doesn't exist or has expired.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    now: OffsetDateTime,
) -> Result<Option<(serde_json::Value, OffsetDateTime)>> {
    let row =
        sqlx::query!("select data, expires_at from session where token_hash = $1 and expires_at > $2", token_hash, now)
            .fetch_optional(db)
            .await?;
    Ok(row.map(|row| (row.data, row.expires_at)))
}

/// Loads the user of a live session with their current plan.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn viewer(db: impl PgExecutor<'_>, token_hash: &[u8], now: OffsetDateTime) -> Result<Option<Viewer>> {
    crate::account::load_viewer(db, crate::account::ViewerKey::Session { token_hash, now }).await
}

/// Deletes a session.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn delete(db: impl PgExecutor<'_>, token_hash: &[u8]) -> Result<()> {
    sqlx::query!("delete from session where token_hash = $1", token_hash).execute(db).await?;
    Ok(())
}

/// Deletes expired sessions and returns how many.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<u64> {
    Ok(sqlx::query!("delete from session where expires_at <= $1", now).execute(db).await?.rows_affected())
}

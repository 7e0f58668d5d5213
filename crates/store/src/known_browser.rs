//! Browsers in which a user has signed in, known by a hash of their cookie.

use crate::Result;
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Returns whether a user has signed in with this browser.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn is_known(db: impl PgExecutor<'_>, owner: UserId, browser_hash: &[u8]) -> Result<bool> {
    let is_known = sqlx::query_scalar!(
        r#"select exists (select from known_browser where user_id = $1 and browser_hash = $2) as "is_known!""#,
        Uuid::from(owner),
        browser_hash,
    )
    .fetch_one(db)
    .await?;
    Ok(is_known)
}

/// Records that a user has signed in with a browser. Returns whether it was unknown until now.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn remember(
    db: impl PgExecutor<'_>,
    owner: UserId,
    browser_hash: &[u8],
    now: OffsetDateTime,
) -> Result<bool> {
    // `xmax` is zero in a row that was inserted and not in one that was updated.
    let is_new = sqlx::query_scalar!(
        r#"insert into known_browser (user_id, browser_hash, first_seen, last_seen) values ($1, $2, $3, $3)
           on conflict (user_id, browser_hash) do update set last_seen = excluded.last_seen
           returning xmax = 0 as "is_new!""#,
        Uuid::from(owner),
        browser_hash,
        now,
    )
    .fetch_one(db)
    .await?;
    Ok(is_new)
}

/// Deletes browsers last seen before an instant and returns how many.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<u64> {
    Ok(sqlx::query!("delete from known_browser where last_seen < $1", before).execute(db).await?.rows_affected())
}

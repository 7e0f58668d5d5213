//! Stripe checkout sessions. A user has at most one that can be paid.

use crate::{Result, Tx};
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Takes the lock under which a user's checkouts are opened and closed, until the transaction ends.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn lock(tx: &mut Tx, user_id: UserId) -> Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('checkout:' || $1, 0))", user_id.to_string())
        .fetch_one(&mut *tx)
        .await?;
    Ok(())
}

/// Lists the ids of a user's checkout sessions that aren't closed.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn open(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!(
        "select session_id from checkout where user_id = $1 and closed_at is null",
        Uuid::from(user_id)
    )
    .fetch_all(db)
    .await?)
}

/// Records a new checkout session.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn opened(db: impl PgExecutor<'_>, user_id: UserId, session_id: &str, now: OffsetDateTime) -> Result<()> {
    sqlx::query!(
        "insert into checkout (session_id, user_id, opened_at) values ($1, $2, $3) on conflict do nothing",
        session_id,
        Uuid::from(user_id),
        now
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Marks a checkout session as closed: it was paid or can no longer be paid.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn closed(db: impl PgExecutor<'_>, session_id: &str, now: OffsetDateTime) -> Result<()> {
    sqlx::query!("update checkout set closed_at = $2 where session_id = $1 and closed_at is null", session_id, now)
        .execute(db)
        .await?;
    Ok(())
}

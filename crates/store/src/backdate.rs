//! Times in the past, for demo data: the server itself always writes the current time.

use crate::Result;
use domain::{TurnId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Sets when an account was created.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn account(db: impl PgExecutor<'_>, user_id: UserId, created_at: OffsetDateTime) -> Result<()> {
    sqlx::query!("update account set created_at = $2 where user_id = $1", Uuid::from(user_id), created_at)
        .execute(db)
        .await?;
    Ok(())
}

/// Sets when the response of a turn was rated.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn feedback(db: impl PgExecutor<'_>, turn_id: TurnId, created_at: OffsetDateTime) -> Result<()> {
    sqlx::query!("update feedback set created_at = $2 where turn_id = $1", Uuid::from(turn_id), created_at)
        .execute(db)
        .await?;
    Ok(())
}

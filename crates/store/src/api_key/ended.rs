//! Revoking and removing many keys at once.

use crate::Result;
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Revokes a user's keys that were created since an instant.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn revoke_since(
    db: impl PgExecutor<'_>,
    owner: UserId,
    since: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update api_key set revoked_at = $3 where user_id = $1 and created_at >= $2 and revoked_at is null",
        Uuid::from(owner),
        since,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Removes keys that were revoked, or expired, before an instant. Their rows of the ledger stay.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn remove_ended(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<()> {
    sqlx::query!("delete from api_key where revoked_at < $1 or expires_at < $1", before).execute(db).await?;
    Ok(())
}

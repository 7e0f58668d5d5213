//! Recovery codes: each replaces a code of the authenticator app once. Only keyed hashes are stored.

use crate::{Result, Tx};
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Replaces a user's recovery codes. No hashes remove them all.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn replace(tx: &mut Tx, owner: UserId, code_hashes: &[[u8; 32]], now: OffsetDateTime) -> Result<()> {
    let hashes: Vec<Vec<u8>> = code_hashes.iter().map(|hash| hash.to_vec()).collect();
    sqlx::query!("delete from recovery_code where user_id = $1", Uuid::from(owner)).execute(&mut *tx).await?;
    sqlx::query!(
        "insert into recovery_code (user_id, code_hash, created_at)
         select $1, code_hash, $3 from unnest($2::bytea[]) as code_hash",
        Uuid::from(owner),
        &hashes,
        now,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Uses a recovery code, whose hash is one of `code_hashes`. Returns false if the user has no such code or it was used before.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn take(
    db: impl PgExecutor<'_>,
    owner: UserId,
    code_hashes: &[[u8; 32]],
    now: OffsetDateTime,
) -> Result<bool> {
    let hashes: Vec<Vec<u8>> = code_hashes.iter().map(|hash| hash.to_vec()).collect();
    let done = sqlx::query!(
        "update recovery_code set used_at = $3 where user_id = $1 and code_hash = any($2) and used_at is null",
        Uuid::from(owner),
        &hashes,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns how many recovery codes of a user are left.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn count_left(db: impl PgExecutor<'_>, owner: UserId) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"select count(*) as "left!" from recovery_code where user_id = $1 and used_at is null"#,
        Uuid::from(owner),
    )
    .fetch_one(db)
    .await?)
}

/// Removes a user's recovery codes if they were created since an instant, or the user has no authenticator app that they replace.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn remove_since(db: impl PgExecutor<'_>, owner: UserId, since: OffsetDateTime) -> Result<()> {
    sqlx::query!(
        "delete from recovery_code
         where user_id = $1 and (created_at >= $2 or not exists (select from totp where user_id = $1))",
        Uuid::from(owner),
        since,
    )
    .execute(db)
    .await?;
    Ok(())
}

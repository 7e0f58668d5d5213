//! Authenticator apps (TOTP): one encrypted secret per user, whose codes are a second factor. Until the first code was entered, the secret is
//! stored with the session that shows it.

use crate::{Result, Tx};
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Stores a secret that is being set up in a user's session, unless the session has one that was made after `expired_before`. Returns the one
/// that it has afterwards; `None` if the session has ended.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn begin(
    db: impl PgExecutor<'_>,
    owner: UserId,
    token_hash: &[u8],
    secret_encrypted: &[u8],
    expired_before: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Option<Vec<u8>>> {
    Ok(sqlx::query_scalar!(
        r#"update session
           set totp_secret_encrypted = case when totp_created_at >= $4 then totp_secret_encrypted else $3 end,
               totp_created_at = case when totp_created_at >= $4 then totp_created_at else $5::timestamptz end
           where token_hash = $1 and user_id = $2
           returning totp_secret_encrypted as "totp_secret_encrypted!""#,
        token_hash,
        Uuid::from(owner),
        secret_encrypted,
        expired_before,
        now,
    )
    .fetch_optional(db)
    .await?)
}

/// Loads the secret that is being set up in a user's session. `None` if there is none.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load_begun(db: impl PgExecutor<'_>, owner: UserId, token_hash: &[u8]) -> Result<Option<Vec<u8>>> {
    let found = sqlx::query_scalar!(
        "select totp_secret_encrypted from session where token_hash = $1 and user_id = $2",
        token_hash,
        Uuid::from(owner),
    )
    .fetch_optional(db)
    .await?;
    Ok(found.flatten())
}

/// Makes the secret that is being set up in a user's session their second factor, given the step of its first code. Returns false if they have
/// one already.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn confirm(tx: &mut Tx, owner: UserId, token_hash: &[u8], step: i64, now: OffsetDateTime) -> Result<bool> {
    let done = sqlx::query!(
        "insert into totp (user_id, secret_encrypted, created_at, confirmed_at, last_step)
         select user_id, totp_secret_encrypted, totp_created_at, $3::timestamptz, $4::bigint from session
         where token_hash = $1 and user_id = $2 and totp_secret_encrypted is not null
         on conflict (user_id) do nothing",
        token_hash,
        Uuid::from(owner),
        now,
        step,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update session set totp_secret_encrypted = null, totp_created_at = null where token_hash = $1 and user_id = $2",
        token_hash,
        Uuid::from(owner),
    )
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Loads the encrypted secret of a user's authenticator app. `None` if they have no app.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load(db: impl PgExecutor<'_>, owner: UserId) -> Result<Option<Vec<u8>>> {
    Ok(sqlx::query_scalar!("select secret_encrypted from totp where user_id = $1", Uuid::from(owner))
        .fetch_optional(db)
        .await?)
}

/// Lists up to `limit` encrypted secrets with their users, by user id, those after `after`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, after: Option<UserId>, limit: i64) -> Result<Vec<(UserId, Vec<u8>)>> {
    let rows = sqlx::query!(
        "select user_id, secret_encrypted from totp where user_id > $1 order by user_id limit $2",
        after.map_or(Uuid::nil(), Uuid::from),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.user_id.into(), row.secret_encrypted)).collect())
}

/// Replaces a user's encrypted secret, unless it is another one by now. Returns whether it did.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn replace(db: impl PgExecutor<'_>, owner: UserId, before: &[u8], after: &[u8]) -> Result<bool> {
    let done = sqlx::query!(
        "update totp set secret_encrypted = $3 where user_id = $1 and secret_encrypted = $2",
        Uuid::from(owner),
        before,
        after,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns whether a user has an authenticator app as a second factor.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn is_confirmed(db: impl PgExecutor<'_>, owner: UserId) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select exists (select from totp where user_id = $1) as "is_confirmed!""#,
        Uuid::from(owner),
    )
    .fetch_one(db)
    .await?)
}

/// Uses up the step of a code. Returns false if that step or a later one was used before.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn use_step(db: impl PgExecutor<'_>, owner: UserId, step: i64) -> Result<bool> {
    let done =
        sqlx::query!("update totp set last_step = $2 where user_id = $1 and last_step < $2", Uuid::from(owner), step,)
            .execute(db)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes a user's secret. Returns false if they had none.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn remove(db: impl PgExecutor<'_>, owner: UserId) -> Result<bool> {
    let done = sqlx::query!("delete from totp where user_id = $1", Uuid::from(owner)).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Removes a user's secret if it was confirmed since an instant.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn remove_since(db: impl PgExecutor<'_>, owner: UserId, since: OffsetDateTime) -> Result<()> {
    sqlx::query!("delete from totp where user_id = $1 and confirmed_at >= $2", Uuid::from(owner), since,)
        .execute(db)
        .await?;
    Ok(())
}

//! Authenticator apps (TOTP): one encrypted secret per user, which is a second factor once a code was entered.

use crate::Result;
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// A stored secret.
pub struct StoredSecret {
    /// The encrypted secret.
    pub secret_encrypted: Vec<u8>,
    /// Whether a code of it was entered, so that it is a second factor.
    pub is_confirmed: bool,
}

/// Stores a secret that isn't confirmed yet, unless the user has one that is confirmed or was created after `expired_before`. Returns the
/// one that is stored afterwards.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn begin(
    db: impl PgExecutor<'_>,
    owner: UserId,
    secret_encrypted: &[u8],
    expired_before: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<StoredSecret> {
    Ok(sqlx::query_as!(
        StoredSecret,
        r#"insert into totp (user_id, secret_encrypted, created_at) values ($1, $2, $4)
           on conflict (user_id) do update set
             secret_encrypted = case when totp.confirmed_at is null and totp.created_at < $3
                                     then excluded.secret_encrypted else totp.secret_encrypted end,
             created_at = case when totp.confirmed_at is null and totp.created_at < $3
                               then excluded.created_at else totp.created_at end
           returning secret_encrypted, confirmed_at is not null as "is_confirmed!""#,
        Uuid::from(owner),
        secret_encrypted,
        expired_before,
        now,
    )
    .fetch_one(db)
    .await?)
}

/// Loads a user's secret.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load(db: impl PgExecutor<'_>, owner: UserId) -> Result<Option<StoredSecret>> {
    Ok(sqlx::query_as!(
        StoredSecret,
        r#"select secret_encrypted, confirmed_at is not null as "is_confirmed!" from totp where user_id = $1"#,
        Uuid::from(owner),
    )
    .fetch_optional(db)
    .await?)
}

/// Returns whether a user has an authenticator app as a second factor.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn is_confirmed(db: impl PgExecutor<'_>, owner: UserId) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select exists (select from totp where user_id = $1 and confirmed_at is not null) as "is_confirmed!""#,
        Uuid::from(owner),
    )
    .fetch_one(db)
    .await?)
}

/// Confirms a user's secret by the step of its first code. Returns false if it is confirmed already.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn confirm(db: impl PgExecutor<'_>, owner: UserId, step: i64, now: OffsetDateTime) -> Result<bool> {
    let done = sqlx::query!(
        "update totp set confirmed_at = $3, last_step = $2 where user_id = $1 and confirmed_at is null",
        Uuid::from(owner),
        step,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Uses up the step of a code. Returns false if that step or a later one was used before.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn use_step(db: impl PgExecutor<'_>, owner: UserId, step: i64) -> Result<bool> {
    let done = sqlx::query!(
        "update totp set last_step = $2 where user_id = $1 and confirmed_at is not null and last_step < $2",
        Uuid::from(owner),
        step,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes a user's secret. Returns false if they had none that was confirmed.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn remove(db: impl PgExecutor<'_>, owner: UserId) -> Result<bool> {
    let done = sqlx::query!("delete from totp where user_id = $1 and confirmed_at is not null", Uuid::from(owner))
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes a user's secret if it was confirmed since an instant, or isn't confirmed: whoever began to set it up has seen it.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn remove_since(db: impl PgExecutor<'_>, owner: UserId, since: OffsetDateTime) -> Result<()> {
    sqlx::query!(
        "delete from totp where user_id = $1 and (confirmed_at is null or confirmed_at >= $2)",
        Uuid::from(owner),
        since,
    )
    .execute(db)
    .await?;
    Ok(())
}

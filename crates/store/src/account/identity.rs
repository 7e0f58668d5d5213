//! How a user proves who they are: password, address, and changes of both.

use crate::{Result, StoreError, Tx};
use domain::UserId;
use serde::Serialize;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// What sign-in checks a password against.
pub struct Credentials {
    /// Account id.
    pub user_id: UserId,
    /// Email.
    pub email: String,
    /// Password hash as a PHC string; `None` for an account without a password.
    pub password_hash: Option<String>,
    /// When the account was created.
    pub created_at: OffsetDateTime,
    /// Whether the user is an admin.
    pub is_admin: bool,
}

/// Loads the credentials of an account by its email, ignoring case.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn credentials(db: impl PgExecutor<'_>, email: &str) -> Result<Option<Credentials>> {
    Ok(sqlx::query_as!(
        Credentials,
        r#"select user_id, email, password_hash, created_at, role = 'admin' as "is_admin!" from account where lower(email) = lower($1)"#,
        email,
    )
    .fetch_optional(db)
    .await?)
}

/// Loads the credentials of a user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn credentials_of(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Option<Credentials>> {
    Ok(sqlx::query_as!(
        Credentials,
        r#"select user_id, email, password_hash, created_at, role = 'admin' as "is_admin!" from account where user_id = $1"#,
        Uuid::from(user_id),
    )
    .fetch_optional(db)
    .await?)
}

/// Locks an account against changes of how its user signs in until the transaction ends; several sign-ins can hold it at once. Returns false
/// if the password is another one than in the credentials, or the account doesn't exist.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn lock_unchanged(tx: &mut Tx, known: &Credentials) -> Result<bool> {
    let found = sqlx::query!(
        "select 1 as one from account where user_id = $1 and password_hash is not distinct from $2 for share",
        Uuid::from(known.user_id),
        known.password_hash.as_deref(),
    )
    .fetch_optional(tx)
    .await?;
    Ok(found.is_some())
}

/// Returns whether an account has a password; false if it doesn't exist.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn has_password(db: impl PgExecutor<'_>, user_id: UserId) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select exists (select from account where user_id = $1 and password_hash is not null) as "has_password!""#,
        Uuid::from(user_id),
    )
    .fetch_one(db)
    .await?)
}

/// Sets a user's password hash, a PHC string.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set_password_hash(db: impl PgExecutor<'_>, user_id: UserId, hash: &str) -> Result<()> {
    sqlx::query!("update account set password_hash = $2 where user_id = $1", Uuid::from(user_id), hash)
        .execute(db)
        .await?;
    Ok(())
}

/// Replaces a user's password hash by another one of the same password. Returns false without a change if the password has been changed.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn replace_password_hash(db: impl PgExecutor<'_>, user_id: UserId, known: &str, hash: &str) -> Result<bool> {
    let done = sqlx::query!(
        "update account set password_hash = $3 where user_id = $1 and password_hash = $2",
        Uuid::from(user_id),
        known,
        hash,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Sets a user's display name, which may be empty.
///
/// # Errors
/// Returns an error if the query fails or the name is too long; [`StoreError::constraint`] then returns `account_name_length`.
pub async fn set_name(db: impl PgExecutor<'_>, user_id: UserId, name: &str) -> Result<()> {
    sqlx::query!("update account set name = $2 where user_id = $1", Uuid::from(user_id), name).execute(db).await?;
    Ok(())
}

/// The result of marking an address as verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// The address is verified for the first time. Until now, anyone may have created the account.
    First,
    /// It was verified before.
    Again,
    /// The account has another address by now. Nothing was changed.
    OtherAddress,
}

/// Marks a user's address as verified, if it is still `email`. An account that was unverified gets `subject`, the subject of the address;
/// one that was verified before keeps its own.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn mark_verified(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    email: &str,
    subject: &str,
    now: OffsetDateTime,
) -> Result<Verified> {
    let is_first = sqlx::query_scalar!(
        r#"with before as (
             select user_id, email_verified_at from account where user_id = $1 and lower(email) = lower($2) for no key update
           )
           update account a
           set email_verified_at = coalesce(a.email_verified_at, $4), subject_is_own = false,
               subject = case when a.email_verified_at is null then $3 else a.subject end
           from before where a.user_id = before.user_id
           returning before.email_verified_at is null as "is_first!""#,
        Uuid::from(user_id),
        email,
        subject,
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(match is_first {
        Some(true) => Verified::First,
        Some(false) => Verified::Again,
        None => Verified::OtherAddress,
    })
}

/// The result of changing an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The address was changed.
    Yes {
        /// The previous address.
        old_email: String,
        /// Whether the account has a verified address for the first time.
        is_first_proof: bool,
    },
    /// The address belongs to another account. Nothing was changed; the transaction must be rolled back.
    Taken,
}

/// Changes a user's address to one that was just proved to be theirs. Unused links and codes that were sent to other addresses are
/// invalidated, except those that undo a change. An account that was unverified gets `subject`, the subject of the new address. One that
/// was verified keeps its subject: otherwise each change of address would refill its quota and permit another trial. The account's address
/// hash is that of the new address, which its subject is.
///
/// # Errors
/// Returns an error if the query fails or the account doesn't exist.
pub async fn change_email(
    tx: &mut Tx,
    user_id: UserId,
    new_email: &str,
    subject: &str,
    now: OffsetDateTime,
) -> Result<Changed> {
    let before = sqlx::query!(
        r#"select email, email_verified_at is null as "is_unverified!", exists (
             select from account other where lower(other.email) = lower($2) and other.user_id <> $1
           ) as "is_taken!"
           from account where user_id = $1 for no key update"#,
        Uuid::from(user_id),
        new_email,
    )
    .fetch_one(&mut *tx)
    .await?;
    if before.is_taken {
        return Ok(Changed::Taken);
    }
    let updated = sqlx::query!(
        "update account set email = $2, email_verified_at = $4, subject_is_own = false, address_hash = $3,
             subject = case when email_verified_at is null then $3 else subject end
         where user_id = $1",
        Uuid::from(user_id),
        new_email,
        subject,
        now,
    )
    .execute(&mut *tx)
    .await
    .map_err(StoreError::from);
    match updated {
        // Another account took the address at the same time.
        Err(error) if error.constraint() == Some("account_email_key") => return Ok(Changed::Taken),
        other => other?,
    };
    sqlx::query!(
        "delete from account_token
         where user_id = $1 and kind <> 'undo_email' and used_at is null and lower(email) <> lower($2)",
        Uuid::from(user_id),
        new_email,
    )
    .execute(&mut *tx)
    .await?;
    Ok(Changed::Yes { old_email: before.email, is_first_proof: before.is_unverified })
}

/// An account in its user's export.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedAccount {
    /// Account id.
    pub user_id: Uuid,
    /// Email.
    pub email: String,
    /// Display name; may be empty.
    pub name: String,
    /// Current plan.
    pub plan: String,
    /// Time zone of the account's pages.
    pub time_zone: String,
    /// `member` or `admin`.
    pub role: String,
    /// Whether the account has a password.
    pub has_password: bool,
    /// When the account was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When the address was verified; `None` if it isn't.
    #[serde(with = "time::serde::rfc3339::option")]
    pub email_verified_at: Option<OffsetDateTime>,
    /// Since when the account is paused; `None` if it isn't.
    #[serde(with = "time::serde::rfc3339::option")]
    pub paused_at: Option<OffsetDateTime>,
    /// The version of the terms that its user has accepted; `None` for accounts that are older than the record of it.
    pub terms_version: Option<String>,
    /// When they accepted it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub terms_accepted_at: Option<OffsetDateTime>,
}

/// Loads an account for its user's export.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn exported(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Option<ExportedAccount>> {
    Ok(sqlx::query_as!(
        ExportedAccount,
        r#"select user_id, email, name, plan_id as plan, time_zone, role, password_hash is not null as "has_password!", created_at,
                  email_verified_at, paused_at, terms_version, terms_accepted_at
           from account where user_id = $1"#,
        Uuid::from(user_id),
    )
    .fetch_optional(db)
    .await?)
}

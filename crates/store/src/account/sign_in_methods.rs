//! The methods by which a user can sign in.

use super::payer::lock;
use crate::{Result, Tx};
use domain::UserId;
use sqlx::PgExecutor;
use uuid::Uuid;

/// The methods by which a user can prove their identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignInMethods {
    /// Whether the account has a password.
    pub has_password: bool,
    /// Number of passkeys.
    pub passkeys: i64,
    /// Whether an authenticator app is a second factor.
    pub has_totp: bool,
}

impl SignInMethods {
    /// Returns whether the user can prove their identity here, without another service.
    #[must_use]
    pub fn has_proof(&self) -> bool {
        self.has_password || self.passkeys > 0 || self.has_totp
    }
}

/// Loads the methods by which a user can prove their identity.
///
/// # Errors
/// Returns an error if the query fails or the account doesn't exist.
pub async fn sign_in_methods(db: impl PgExecutor<'_>, user_id: UserId) -> Result<SignInMethods> {
    Ok(sqlx::query_as!(
        SignInMethods,
        r#"select password_hash is not null as "has_password!",
                  (select count(*) from passkey p where p.user_id = a.user_id) as "passkeys!",
                  exists (select from totp t where t.user_id = a.user_id) as "has_totp!"
           from account a where user_id = $1"#,
        Uuid::from(user_id),
    )
    .fetch_one(db)
    .await?)
}

/// Counts the methods by which a user can sign in, which are a password, passkeys and identities at other services, and locks the account until
/// the transaction ends, so that the last one isn't removed.
///
/// # Errors
/// Returns an error if a query fails or the account doesn't exist.
pub async fn lock_sign_in_methods(tx: &mut Tx, user_id: UserId) -> Result<i64> {
    lock(tx, user_id).await?;
    Ok(sqlx::query_scalar!(
        r#"select (case when password_hash is null then 0 else 1 end)
                  + (select count(*) from passkey p where p.user_id = a.user_id)
                  + (select count(*) from identity i where i.user_id = a.user_id) as "ways!"
           from account a where user_id = $1"#,
        Uuid::from(user_id),
    )
    .fetch_one(&mut *tx)
    .await?)
}

/// The result of removing a way to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal<T> {
    /// It was removed.
    Removed(T),
    /// The user has no such way to sign in.
    Unknown,
    /// The user couldn't sign in any more. Nothing was removed.
    LastWayIn,
}

/// Removes a user's password, unless it is their only way to sign in.
///
/// # Errors
/// Returns an error if a query fails or the account doesn't exist.
pub async fn remove_password(tx: &mut Tx, user_id: UserId) -> Result<Removal<()>> {
    let methods = lock_sign_in_methods(tx, user_id).await?;
    let has_password = sqlx::query_scalar!(
        r#"select password_hash is not null as "has_password!" from account where user_id = $1"#,
        Uuid::from(user_id),
    )
    .fetch_one(&mut *tx)
    .await?;
    if !has_password {
        return Ok(Removal::Unknown);
    }
    if methods < 2 {
        return Ok(Removal::LastWayIn);
    }
    sqlx::query!("update account set password_hash = null where user_id = $1", Uuid::from(user_id))
        .execute(&mut *tx)
        .await?;
    Ok(Removal::Removed(()))
}

/// Removes every way to sign in and every second factor except the password: identities, passkeys, the authenticator app and its recovery
/// codes.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn remove_added_sign_in_methods(db: impl PgExecutor<'_>, user_id: UserId) -> Result<()> {
    sqlx::query!(
        "with i as (delete from identity where user_id = $1),
              p as (delete from passkey where user_id = $1),
              t as (delete from totp where user_id = $1)
         delete from recovery_code where user_id = $1",
        Uuid::from(user_id),
    )
    .execute(db)
    .await?;
    Ok(())
}

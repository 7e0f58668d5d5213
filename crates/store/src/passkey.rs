//! Passkeys: the public keys that users sign in with.

use crate::account::{self, Removal};
use crate::{Result, Tx};
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// A passkey to store.
pub struct NewPasskey<'a> {
    /// Id of its credential, chosen by the authenticator.
    pub credential_id: &'a [u8],
    /// Names it on pages and in forms.
    pub passkey_id: Uuid,
    /// Its user.
    pub user_id: UserId,
    /// The name that the user gave it: 1 to 60 characters.
    pub name: &'a str,
    /// Public key and counter.
    pub credential: &'a serde_json::Value,
    /// When it was added.
    pub now: OffsetDateTime,
}

/// A stored passkey.
pub struct PasskeyRow {
    /// Names it on pages and in forms.
    pub passkey_id: Uuid,
    /// Id of its credential.
    pub credential_id: Vec<u8>,
    /// The name that the user gave it.
    pub name: String,
    /// Public key and counter.
    pub credential: serde_json::Value,
    /// When it was added.
    pub created_at: OffsetDateTime,
    /// The last sign-in or confirmation with it.
    pub last_used_at: Option<OffsetDateTime>,
}

/// Stores a passkey. Returns false if its credential belongs to an account already.
///
/// # Errors
/// Returns an error if the query fails or the name's length is invalid; [`crate::StoreError::constraint`] then returns
/// `passkey_name_length`.
pub async fn add(db: impl PgExecutor<'_>, new: &NewPasskey<'_>) -> Result<bool> {
    let done = sqlx::query!(
        "insert into passkey (credential_id, passkey_id, user_id, name, credential, created_at)
         values ($1, $2, $3, $4, $5, $6) on conflict (credential_id) do nothing",
        new.credential_id,
        new.passkey_id,
        Uuid::from(new.user_id),
        new.name,
        new.credential,
        new.now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lists a user's passkeys, the oldest first.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, owner: UserId) -> Result<Vec<PasskeyRow>> {
    Ok(sqlx::query_as!(
        PasskeyRow,
        "select passkey_id, credential_id, name, credential, created_at, last_used_at from passkey
         where user_id = $1 order by created_at, passkey_id",
        Uuid::from(owner),
    )
    .fetch_all(db)
    .await?)
}

/// Loads a user's passkey by its credential.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn by_credential(db: impl PgExecutor<'_>, owner: UserId, credential_id: &[u8]) -> Result<Option<PasskeyRow>> {
    Ok(sqlx::query_as!(
        PasskeyRow,
        "select passkey_id, credential_id, name, credential, created_at, last_used_at from passkey
         where user_id = $1 and credential_id = $2",
        Uuid::from(owner),
        credential_id,
    )
    .fetch_optional(db)
    .await?)
}

/// Records a use of a passkey, with its new counter.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn mark_used(
    db: impl PgExecutor<'_>,
    credential_id: &[u8],
    credential: &serde_json::Value,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update passkey set credential = $2, last_used_at = $3 where credential_id = $1",
        credential_id,
        credential,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Renames one of a user's passkeys. Returns false if the user has no such passkey.
///
/// # Errors
/// Returns an error if the query fails or the name's length is invalid; [`crate::StoreError::constraint`] then returns
/// `passkey_name_length`.
pub async fn rename(db: impl PgExecutor<'_>, owner: UserId, passkey_id: Uuid, name: &str) -> Result<bool> {
    let done = sqlx::query!(
        "update passkey set name = $3 where user_id = $1 and passkey_id = $2",
        Uuid::from(owner),
        passkey_id,
        name,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes one of a user's passkeys, unless it is their only way to sign in. Returns its name.
///
/// # Errors
/// Returns an error if a query fails or the account doesn't exist.
pub async fn remove(tx: &mut Tx, owner: UserId, passkey_id: Uuid) -> Result<Removal<String>> {
    let methods = account::lock_sign_in_methods(tx, owner).await?;
    let name = sqlx::query_scalar!(
        "select name from passkey where user_id = $1 and passkey_id = $2",
        Uuid::from(owner),
        passkey_id,
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(name) = name else { return Ok(Removal::Unknown) };
    if methods < 2 {
        return Ok(Removal::LastWayIn);
    }
    sqlx::query!("delete from passkey where user_id = $1 and passkey_id = $2", Uuid::from(owner), passkey_id)
        .execute(&mut *tx)
        .await?;
    Ok(Removal::Removed(name))
}

/// Removes a user's passkeys that were added since an instant.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn remove_since(db: impl PgExecutor<'_>, owner: UserId, since: OffsetDateTime) -> Result<()> {
    sqlx::query!("delete from passkey where user_id = $1 and created_at >= $2", Uuid::from(owner), since)
        .execute(db)
        .await?;
    Ok(())
}

//! Identities at Google, GitHub and other issuers with which users sign in.

use crate::account::{self, Removal};
use crate::{Result, Tx};
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// An identity to connect.
#[derive(Clone, Copy, Debug)]
pub struct NewIdentity<'a> {
    /// The issuer's URL.
    pub issuer: &'a str,
    /// The issuer's permanent id of the user.
    pub subject: &'a str,
    /// The account it is connected to.
    pub user_id: UserId,
    /// The address that the issuer sent.
    pub email: Option<&'a str>,
    /// The current time.
    pub now: OffsetDateTime,
}

/// Connects an identity to an account. Returns false without a change if it is connected already, to whichever account.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn add(db: impl PgExecutor<'_>, new: &NewIdentity<'_>) -> Result<bool> {
    let done = sqlx::query!(
        "insert into identity (issuer, subject, user_id, email, created_at, last_used_at) values ($1, $2, $3, $4, $5, $5)
         on conflict do nothing",
        new.issuer,
        new.subject,
        Uuid::from(new.user_id),
        new.email,
        new.now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns the user that an identity is connected to, if any, and records its use.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn use_identity(
    db: impl PgExecutor<'_>,
    issuer: &str,
    subject: &str,
    email: Option<&str>,
    now: OffsetDateTime,
) -> Result<Option<UserId>> {
    let user_id = sqlx::query_scalar!(
        "update identity set last_used_at = $4, email = coalesce($3, email) where issuer = $1 and subject = $2
         returning user_id",
        issuer,
        subject,
        email,
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(user_id.map(UserId::from))
}

/// An identity of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The issuer's URL.
    pub issuer: String,
    /// The address that the issuer last sent.
    pub email: Option<String>,
    /// When it was connected.
    pub created_at: OffsetDateTime,
}

/// Lists a user's identities, the oldest first.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, owner: UserId) -> Result<Vec<Identity>> {
    Ok(sqlx::query_as!(
        Identity,
        "select issuer, email, created_at from identity where user_id = $1 order by created_at, issuer, subject",
        Uuid::from(owner),
    )
    .fetch_all(db)
    .await?)
}

/// Disconnects a user's identities that were connected since an instant.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn remove_since(db: impl PgExecutor<'_>, owner: UserId, since: OffsetDateTime) -> Result<()> {
    sqlx::query!("delete from identity where user_id = $1 and created_at >= $2", Uuid::from(owner), since)
        .execute(db)
        .await?;
    Ok(())
}

/// Disconnects a user's identities of an issuer, unless they are the user's only way to sign in.
///
/// # Errors
/// Returns an error if a query fails or the account doesn't exist.
pub async fn remove(tx: &mut Tx, owner: UserId, issuer: &str) -> Result<Removal<()>> {
    // One at a time for each user, so that two concurrent requests don't remove the last two ways to sign in.
    let methods = account::lock_sign_in_methods(tx, owner).await?;
    let of_issuer = sqlx::query_scalar!(
        r#"select count(*) as "identities!" from identity where user_id = $1 and issuer = $2"#,
        Uuid::from(owner),
        issuer,
    )
    .fetch_one(&mut *tx)
    .await?;
    if of_issuer == 0 {
        return Ok(Removal::Unknown);
    }
    if of_issuer >= methods {
        return Ok(Removal::LastWayIn);
    }
    sqlx::query!("delete from identity where user_id = $1 and issuer = $2", Uuid::from(owner), issuer)
        .execute(&mut *tx)
        .await?;
    Ok(Removal::Removed(()))
}

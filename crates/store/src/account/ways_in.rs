//! The ways in which a user can sign in.

use crate::{Result, Tx};
use domain::UserId;
use sqlx::PgExecutor;
use uuid::Uuid;

/// What a user can prove their identity with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    /// Whether the account has a password.
    pub has_password: bool,
    /// Number of passkeys.
    pub passkeys: i64,
    /// Whether an authenticator app is a second factor.
    pub has_totp: bool,
}

impl Ways {
    /// Returns whether the user can prove their identity here, without another service.
    #[must_use]
    pub fn has_proof(&self) -> bool {
        self.has_password || self.passkeys > 0 || self.has_totp
    }
}

/// Loads what a user can prove their identity with.
///
/// # Errors
/// Returns an error if the query fails or the account doesn't exist.
pub async fn ways(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Ways> {
    Ok(sqlx::query_as!(
        Ways,
        r#"select password_hash is not null as "has_password!",
                  (select count(*) from passkey p where p.user_id = a.user_id) as "passkeys!",
                  exists (select from totp t where t.user_id = a.user_id and t.confirmed_at is not null) as "has_totp!"
           from account a where user_id = $1"#,
        Uuid::from(user_id),
    )
    .fetch_one(db)
    .await?)
}

/// Counts the ways in which a user can sign in, which are a password, passkeys and identities at other services, and locks them until the
/// transaction ends: what removes one first checks that another is left.
///
/// # Errors
/// Returns an error if a query fails or the account doesn't exist.
pub async fn lock_ways_in(tx: &mut Tx, user_id: UserId) -> Result<i64> {
    sqlx::query!("select 1 as one from account where user_id = $1 for no key update", Uuid::from(user_id))
        .fetch_one(&mut *tx)
        .await?;
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

/// Removes a user's password. Returns false if there is none.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn remove_password(db: impl PgExecutor<'_>, user_id: UserId) -> Result<bool> {
    let done = sqlx::query!(
        "update account set password_hash = null where user_id = $1 and password_hash is not null",
        Uuid::from(user_id),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

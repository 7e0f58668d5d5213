//! Accounts, as billing sees them.

use super::close_key;
use crate::Result;
use domain::UserId;
use sqlx::PgExecutor;
use uuid::Uuid;

/// What billing needs to know of a user.
pub struct Payer {
    /// Who.
    pub user_id: UserId,
    /// Their address, for Stripe and for mail.
    pub email: String,
    /// What they are called; may be empty.
    pub name: String,
    /// Stripe's id of them.
    pub customer_id: Option<String>,
    /// Whether they have had their trial.
    pub tried: bool,
    /// Keyed hash of the address at sign-up.
    pub subject: String,
}

/// A user as billing sees them.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn payer(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Option<Payer>> {
    let row = sqlx::query!(
        r#"select email, name, stripe_customer_id, subject,
                  exists (select from trial t where t.subject = account.subject) as "tried!"
           from account where user_id = $1"#,
        Uuid::from(user_id)
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Payer {
        user_id,
        email: row.email,
        name: row.name,
        customer_id: row.stripe_customer_id,
        tried: row.tried,
        subject: row.subject,
    }))
}

/// Holds somebody's row until the transaction ends, ahead of their subscriptions' rows: whoever deletes the account locks
/// in this order too. Their turns go on meanwhile: rows that only refer to the account don't wait. False where nobody is
/// there.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn hold(tx: &mut crate::Tx, user_id: UserId) -> Result<bool> {
    let row = sqlx::query!("select 1 as one from account where user_id = $1 for no key update", Uuid::from(user_id))
        .fetch_optional(&mut *tx)
        .await?;
    Ok(row.is_some())
}

/// Whose customer this is.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn by_customer(db: impl PgExecutor<'_>, customer_id: &str) -> Result<Option<UserId>> {
    let row = sqlx::query_scalar!("select user_id from account where stripe_customer_id = $1", customer_id)
        .fetch_optional(db)
        .await?;
    Ok(row.map(Into::into))
}

/// Gives somebody who has none a customer. Answers whose customer theirs is now: this one, or the one they had; none where
/// nobody is there.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn link_customer(db: impl PgExecutor<'_>, user_id: UserId, customer_id: &str) -> Result<Option<String>> {
    let row = sqlx::query_scalar!(
        "update account set stripe_customer_id = coalesce(stripe_customer_id, $2) where user_id = $1 returning stripe_customer_id",
        Uuid::from(user_id),
        customer_id
    )
    .fetch_optional(db)
    .await?;
    Ok(row.flatten())
}

/// Forgets a customer that is gone at Stripe.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn unlink_customer(db: impl PgExecutor<'_>, customer_id: &str) -> Result<()> {
    sqlx::query!("update account set stripe_customer_id = null where stripe_customer_id = $1", customer_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Whether the account of a customer was deleted here: what an empty or restored database can't claim.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn was_deleted(db: impl PgExecutor<'_>, customer_id: &str) -> Result<bool> {
    let row =
        sqlx::query!("select 1 as one from job where key = $1", close_key(customer_id)).fetch_optional(db).await?;
    Ok(row.is_some())
}

/// Every customer that is linked here.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn customers(db: impl PgExecutor<'_>) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!(
        r#"select stripe_customer_id as "customer!" from account where stripe_customer_id is not null
           union select customer_id from subscription where status not in ('canceled', 'incomplete_expired')"#
    )
    .fetch_all(db)
    .await?)
}

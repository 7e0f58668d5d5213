//! Account queries for billing.

use super::close_key;
use crate::Result;
use domain::UserId;
use sqlx::PgExecutor;
use uuid::Uuid;

/// A user with the details that billing needs.
pub struct Payer {
    /// User id.
    pub user_id: UserId,
    /// Email, for Stripe and for notifications.
    pub email: String,
    /// Display name; may be empty.
    pub name: String,
    /// Stripe customer id, if the user has one.
    pub customer_id: Option<String>,
    /// Whether the user has already had a trial.
    pub tried: bool,
    /// Keyed hash of the email once it is verified, until then of the account.
    pub subject: String,
}

/// Loads a user for billing. Returns `None` if the user doesn't exist.
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

/// Locks a user's account row until the transaction ends. Must be called before the user's subscriptions, sessions, tokens and factors are
/// locked, because deleting the account locks in the same order. Doesn't block the user's turns: rows that only refer to the account can still be written. Returns
/// false if the user doesn't exist.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn lock(tx: &mut crate::Tx, user_id: UserId) -> Result<bool> {
    let row = sqlx::query!("select 1 as one from account where user_id = $1 for no key update", Uuid::from(user_id))
        .fetch_optional(&mut *tx)
        .await?;
    Ok(row.is_some())
}

/// Returns the user who is linked to a Stripe customer.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn by_customer(db: impl PgExecutor<'_>, customer_id: &str) -> Result<Option<UserId>> {
    let row = sqlx::query_scalar!("select user_id from account where stripe_customer_id = $1", customer_id)
        .fetch_optional(db)
        .await?;
    Ok(row.map(Into::into))
}

/// Links a Stripe customer to a user who has none. Returns the customer that the user has afterwards: this one, or the one they already
/// had. Returns `None` if the user doesn't exist.
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

/// Removes the link to a customer that no longer exists in Stripe.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn unlink_customer(db: impl PgExecutor<'_>, customer_id: &str) -> Result<()> {
    sqlx::query!("update account set stripe_customer_id = null where stripe_customer_id = $1", customer_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Returns whether this deployment deleted the account of a customer. False in an empty or restored database, where the account is merely
/// missing.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn was_deleted(db: impl PgExecutor<'_>, customer_id: &str) -> Result<bool> {
    let row =
        sqlx::query!("select 1 as one from job where key = $1", close_key(customer_id)).fetch_optional(db).await?;
    Ok(row.is_some())
}

/// Lists all Stripe customers that are linked to an account or have a subscription that isn't over.
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

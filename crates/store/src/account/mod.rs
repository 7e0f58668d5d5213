//! Accounts, as their users use them. `owner.rs` has the admin's queries, `payer.rs` those of billing.

mod owner;
mod payer;

pub use owner::{Listed, User, admins, list, make_admin, set_plan, user};
pub use payer::{Payer, by_customer, customers, hold, link_customer, payer, unlink_customer, was_deleted};

use crate::{Db, Result};
use domain::{UserId, Viewer};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// What a sign-up makes.
pub struct NewAccount<'a> {
    /// Its key.
    pub user_id: UserId,
    /// Trimmed; unique without regard to case.
    pub email: &'a str,
    /// What they want to be called; may be empty.
    pub name: &'a str,
    /// A PHC string.
    pub password_hash: &'a str,
    /// Keyed hash of the address.
    pub subject: &'a str,
    /// Whether they may see `/admin`.
    pub is_admin: bool,
}

/// Whether a sign-up took.
#[derive(Debug, PartialEq, Eq)]
pub enum Created {
    /// The account stands.
    Yes,
    /// Somebody has this address already.
    EmailTaken,
}

/// Makes an account on the free plan.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn create(db: impl PgExecutor<'_>, new: &NewAccount<'_>) -> Result<Created> {
    let role = if new.is_admin { "admin" } else { "member" };
    let done = sqlx::query!(
        "insert into account (user_id, email, name, password_hash, subject, role) values ($1, $2, $3, $4, $5, $6)
         on conflict (lower(email)) do nothing",
        Uuid::from(new.user_id),
        new.email,
        new.name,
        new.password_hash,
        new.subject,
        role,
    )
    .execute(db)
    .await?;
    Ok(if done.rows_affected() == 1 { Created::Yes } else { Created::EmailTaken })
}

/// What a sign-in needs to know.
pub struct Credentials {
    /// The account.
    pub user_id: UserId,
    /// A PHC string.
    pub password_hash: String,
}

/// The credentials behind an address, in any case.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn credentials(db: impl PgExecutor<'_>, email: &str) -> Result<Option<Credentials>> {
    let row = sqlx::query!("select user_id, password_hash from account where lower(email) = lower($1)", email)
        .fetch_optional(db)
        .await?;
    Ok(row.map(|row| Credentials { user_id: row.user_id.into(), password_hash: row.password_hash }))
}

/// A user with their plan as it is now: one indexed query, never cached, so that a change holds at once everywhere.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn viewer(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Option<Viewer>> {
    let row = sqlx::query!(
        r#"select a.email, a.name, a.role, a.subject,
                  a.paused_at is not null as "is_paused!", a.time_zone, p.plan_id, p.name as plan_name, p.sort,
                  case when a.limit_until > now() then coalesce(a.limit_requests, p.requests_per_minute)
                       else p.requests_per_minute end as "requests_per_minute!",
                  case when a.limit_until > now() then coalesce(a.limit_tokens, p.tokens_per_day)
                       else p.tokens_per_day end as "tokens_per_day!",
                  p.in_flight, p.max_output, p.monthly_cents, p.yearly_cents, p.currency, p.trial_days, p.monthly_price_id,
                  p.yearly_price_id, p.pitch, p.shows_cost,
                  array(select pm.model from plan_model pm where pm.plan_id = p.plan_id order by pm.sort) as "models!",
                  (select max(s.grace_until) from subscription s
                   where s.user_id = a.user_id and s.status = 'past_due' and not s.grace_is_over) as grace_until
           from account a join plan p using (plan_id)
           where a.user_id = $1"#,
        Uuid::from(user_id),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Viewer {
        user_id,
        email: row.email,
        name: row.name,
        is_admin: row.role == "admin",
        is_paused: row.is_paused,
        time_zone: row.time_zone,
        subject: row.subject,
        grace_until: row.grace_until,
        plan: crate::plan::from_row!(row),
    }))
}

/// Says where a user's days begin; false where Postgres knows no such time zone.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set_time_zone(db: impl PgExecutor<'_>, owner: UserId, zone: &str) -> Result<bool> {
    let done = sqlx::query!(
        "update account set time_zone = $2 where user_id = $1 and exists (select from pg_timezone_names where name = $2)",
        Uuid::from(owner),
        zone,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The plan of everybody who neither pays nor was given one.
pub(crate) const FREE: &str = "free";

/// The job that cancels what a deleted account paid for.
pub const CLOSE_CUSTOMER: &str = "close_customer";

fn close_key(customer_id: &str) -> String {
    format!("{CLOSE_CUSTOMER}:{customer_id}")
}

/// Deletes an account, and leaves the cancelling of what it paid for as a job, in one transaction. The ledger stays.
/// False where nobody is there, or only this admin is.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn delete(db: &Db, user_id: UserId, now: OffsetDateTime) -> Result<bool> {
    let mut tx = crate::begin(db).await?;
    // Admins leave one by one, so that the last one sees to be the last.
    let admins = sqlx::query_scalar!("select user_id from account where role = 'admin' order by user_id for update")
        .fetch_all(&mut tx)
        .await?;
    if admins == [Uuid::from(user_id)] {
        return Ok(false);
    }
    let customer =
        sqlx::query!("select stripe_customer_id from account where user_id = $1 for update", Uuid::from(user_id))
            .fetch_optional(&mut tx)
            .await?;
    let Some(customer) = customer else { return Ok(false) };
    if let Some(customer) = customer.stripe_customer_id {
        let sessions = sqlx::query_scalar!(
            "select session_id from checkout where user_id = $1 and closed_at is null",
            Uuid::from(user_id)
        )
        .fetch_all(&mut tx)
        .await?;
        let payload = serde_json::json!({ "customer_id": customer, "sessions": sessions });
        crate::job::add(&mut tx, CLOSE_CUSTOMER, Some(&close_key(&customer)), &payload, now).await?;
    }
    sqlx::query!("delete from account where user_id = $1", Uuid::from(user_id)).execute(&mut tx).await?;
    tx.commit().await?;
    Ok(true)
}

//! Accounts: sign-up, the viewer, and deletion. `identity.rs` has what sign-in and changes of password, address and name need, `subject.rs`
//! the change to subjects of their own, `sign_in_methods.rs` how users sign in, `owner.rs` the queries of the admin pages, `payer.rs` those of billing.

mod identity;
mod owner;
mod payer;
mod sign_in_methods;
mod subject;

pub use identity::{
    Changed, Credentials, ExportedAccount, Verified, change_email, credentials, credentials_of, exported, has_password,
    lock_unchanged, mark_verified, replace_password_hash, set_name, set_password_hash,
};
pub use owner::{AccountFilter, Promotion, User, admins, list, make_admin, set_plan, user};
pub use payer::{Payer, by_customer, customers, link_customer, lock, payer, unlink_customer, was_deleted};
pub use sign_in_methods::{
    Removal, SignInMethods, lock_sign_in_methods, remove_added_sign_in_methods, remove_password, sign_in_methods,
};
pub use subject::{list_shared_subjects, list_without_address_hash, set_address_hashes, set_own_subjects};

use crate::{Db, Result};
use domain::{UserId, Viewer};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// An account to create.
pub struct NewAccount<'a> {
    /// Account id.
    pub user_id: UserId,
    /// Email, trimmed. Unique regardless of case.
    pub email: &'a str,
    /// Display name; may be empty.
    pub name: &'a str,
    /// Password hash as a PHC string; `None` for an account without a password.
    pub password_hash: Option<&'a str>,
    /// Keyed hash: of the address if it is verified, else of the account.
    pub subject: &'a str,
    /// Whether the user is an admin and can open `/admin`.
    pub is_admin: bool,
    /// When the address was verified; `None` if it isn't.
    pub email_verified_at: Option<OffsetDateTime>,
    /// Keyed hash of the normalised address, verified or not.
    pub address_hash: &'a str,
    /// Keyed hash of the network that the account is created from; `None` if it isn't created over the network.
    pub sign_up_block: Option<&'a str>,
    /// The version of the terms that its user accepts, and when; `None` if it isn't created by its user.
    pub accepted_terms: Option<(&'a str, OffsetDateTime)>,
}

/// The result of creating an account.
#[derive(Debug, PartialEq, Eq)]
pub enum Created {
    /// The account was created.
    Yes,
    /// The email belongs to another account.
    EmailTaken,
}

/// Creates an account on the free plan.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn create(db: impl PgExecutor<'_>, new: &NewAccount<'_>) -> Result<Created> {
    let role = if new.is_admin { "admin" } else { "member" };
    let (terms_version, terms_accepted_at) = new.accepted_terms.unzip();
    let done = sqlx::query!(
        "insert into account (user_id, email, name, password_hash, subject, role, email_verified_at, subject_is_own, address_hash, sign_up_block,
                              terms_version, terms_accepted_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7::timestamptz is null, $8, $9, $10, $11) on conflict (lower(email)) do nothing",
        Uuid::from(new.user_id),
        new.email,
        new.name,
        new.password_hash,
        new.subject,
        role,
        new.email_verified_at,
        new.address_hash,
        new.sign_up_block,
        terms_version,
        terms_accepted_at,
    )
    .execute(db)
    .await?;
    Ok(if done.rows_affected() == 1 { Created::Yes } else { Created::EmailTaken })
}

/// Loads a user with their current plan.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn viewer(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Option<Viewer>> {
    load_viewer(db, ViewerKey::User(user_id)).await
}

/// Converts a row of the view `viewer` to a [`Viewer`], with when the user proved their identity and whether with two factors.
macro_rules! viewer_from_row {
    ($row:ident, $authenticated_at:expr, $is_two_factor:expr) => {
        domain::Viewer {
            user_id: $row.user_id.into(),
            email: $row.email,
            name: $row.name,
            is_admin: $row.is_admin,
            is_paused: $row.is_paused,
            time_zone: $row.time_zone,
            subject: $row.subject,
            grace_until: $row.grace_until,
            is_verified: $row.is_verified,
            authenticated_at: $authenticated_at,
            is_two_factor: $is_two_factor,
            plan: crate::plan::from_row!($row),
        }
    };
}
pub(crate) use viewer_from_row;

/// The key by which a viewer is loaded.
pub(crate) enum ViewerKey<'a> {
    /// Their id.
    User(UserId),
    /// A live session of theirs.
    Session {
        /// Hash of the session's token.
        token_hash: &'a [u8],
        /// The current time.
        now: OffsetDateTime,
    },
}

/// Loads a viewer. One indexed query that is never cached, so that changes apply immediately on every server.
///
/// # Errors
/// Returns an error if the query fails.
pub(crate) async fn load_viewer(db: impl PgExecutor<'_>, key: ViewerKey<'_>) -> Result<Option<Viewer>> {
    let (user_id, token_hash, now) = match key {
        ViewerKey::User(user_id) => (Some(Uuid::from(user_id)), None, None),
        ViewerKey::Session { token_hash, now } => (None, Some(token_hash), Some(now)),
    };
    let row = sqlx::query!(
        r#"select user_id as "user_id!", email as "email!", name as "name!", is_admin as "is_admin!", is_paused as "is_paused!",
                  time_zone as "time_zone!", subject as "subject!", plan_id as "plan_id!", plan_name as "plan_name!", sort as "sort!",
                  requests_per_minute as "requests_per_minute!", tokens_per_day as "tokens_per_day!", in_flight as "in_flight!",
                  max_output as "max_output!", monthly_cents as "monthly_cents!", yearly_cents as "yearly_cents!",
                  currency as "currency!", trial_days as "trial_days!", monthly_price_id, yearly_price_id, pitch as "pitch!",
                  shows_cost as "shows_cost!", models as "models!",
                  (select p.storage_bytes from plan p where p.plan_id = viewer.plan_id) as "storage_bytes!", grace_until, is_verified as "is_verified!",
                  authenticated_at as "authenticated_at?", is_two_factor as "is_two_factor!"
           from (
             select $1::uuid as user_id, null::timestamptz as authenticated_at, false as is_two_factor where $1::uuid is not null
             union all
             select n.user_id, n.authenticated_at, n.is_two_factor from session n join account a using (user_id)
             where n.token_hash = $2 and session_ends_at(n, a.role) > $3
           ) found join viewer using (user_id)"#,
        user_id,
        token_hash,
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| viewer_from_row!(row, row.authenticated_at, row.is_two_factor)))
}

/// Sets a user's time zone. Returns false if Postgres doesn't have the time zone or the user doesn't exist.
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

/// Id of the plan for users who neither pay nor were granted a plan.
pub(crate) const FREE: &str = "free";

/// Kind of the job that cancels a deleted account's subscriptions.
pub const CLOSE_CUSTOMER: &str = "close_customer";

/// Kind of the job that finds further customers of a deleted account at Stripe and closes them too.
pub const CLOSE_DUPLICATES: &str = "close_duplicates";

fn close_key(customer_id: &str) -> String {
    format!("{CLOSE_CUSTOMER}:{customer_id}")
}

/// Deletes an account and, in the same transaction, queues a job for each of its Stripe customers that cancels their subscriptions, and one
/// that looks for further customers at Stripe: a user normally has one, but duplicates would continue to be charged. The ledger is kept. Returns
/// false if the account doesn't exist or is the only admin.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn delete(db: &Db, user_id: UserId, now: OffsetDateTime) -> Result<bool> {
    let mut tx = crate::begin(db).await?;
    // Locks all admins, so that two of them can't delete their accounts at the same time and leave none.
    let admins = sqlx::query_scalar!("select user_id from account where role = 'admin' order by user_id for update")
        .fetch_all(&mut tx)
        .await?;
    if admins == [Uuid::from(user_id)] {
        return Ok(false);
    }
    let account = sqlx::query!(
        "select case when email_verified_at is not null then email end as verified_email from account where user_id = $1 for update",
        Uuid::from(user_id),
    )
    .fetch_optional(&mut tx)
    .await?;
    let Some(account) = account else { return Ok(false) };
    let customers = sqlx::query_scalar!(
        r#"select stripe_customer_id as "customer_id!" from account where user_id = $1 and stripe_customer_id is not null
           union
           select customer_id from subscription where user_id = $1 and status not in ('canceled', 'incomplete_expired')"#,
        Uuid::from(user_id),
    )
    .fetch_all(&mut tx)
    .await?;
    let mut sessions = crate::checkout::open(&mut tx, user_id).await?;
    for customer in customers {
        // The first job closes the open checkouts of the user.
        let payload = serde_json::json!({ "customer_id": customer, "sessions": std::mem::take(&mut sessions) });
        crate::job::add(&mut tx, CLOSE_CUSTOMER, Some(&close_key(&customer)), &payload, now).await?;
    }
    // An unverified address may belong to someone else, so no customer is found by it.
    let payload = serde_json::json!({ "user_id": user_id, "email": account.verified_email });
    crate::job::add(&mut tx, CLOSE_DUPLICATES, Some(&format!("{CLOSE_DUPLICATES}:{user_id}")), &payload, now).await?;
    sqlx::query!("delete from account where user_id = $1", Uuid::from(user_id)).execute(&mut tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// Queues the job that cancels all subscriptions of a customer of a deleted account, unless it was queued before or the customer is linked to
/// an existing account.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn queue_close(db: &Db, customer_id: &str, now: OffsetDateTime) -> Result<()> {
    if by_customer(db, customer_id).await?.is_some() {
        return Ok(());
    }
    let payload = serde_json::json!({ "customer_id": customer_id, "sessions": [] });
    crate::job::add(db, CLOSE_CUSTOMER, Some(&close_key(customer_id)), &payload, now).await
}

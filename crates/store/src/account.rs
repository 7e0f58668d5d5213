//! People with an account.

use crate::{Db, Result};
use domain::{PlanId, UserId, Viewer};
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
/// When Postgres does.
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
/// When Postgres does.
pub async fn credentials(db: impl PgExecutor<'_>, email: &str) -> Result<Option<Credentials>> {
    let row = sqlx::query!("select user_id, password_hash from account where lower(email) = lower($1)", email)
        .fetch_optional(db)
        .await?;
    Ok(row.map(|row| Credentials { user_id: row.user_id.into(), password_hash: row.password_hash }))
}

/// A person with their plan as it is now: one indexed query, never cached, so that a change holds at once everywhere.
///
/// # Errors
/// When Postgres does.
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

/// Says where a person's days begin; false where Postgres knows no such time zone.
///
/// # Errors
/// When Postgres does.
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

/// Who an admin looks at: the person, and since when they are here.
pub struct Person {
    /// The person.
    pub viewer: Viewer,
    /// When they signed up.
    pub created_at: OffsetDateTime,
    /// The plan an admin gave them, if any.
    pub granted: Option<PlanId>,
}

/// One person, for an admin.
///
/// # Errors
/// When Postgres does.
pub async fn person(db: &Db, user_id: UserId) -> Result<Option<Person>> {
    let Some(viewer) = viewer(db, user_id).await? else {
        return Ok(None);
    };
    let row = sqlx::query!("select created_at, granted_plan_id from account where user_id = $1", Uuid::from(user_id))
        .fetch_one(db)
        .await?;
    Ok(Some(Person { viewer, created_at: row.created_at, granted: row.granted_plan_id.map(PlanId) }))
}

/// Gives a person a plan and writes down who did it, in one transaction; what they pay for counts beside it, the larger
/// of the two holds. False where person or plan doesn't exist.
///
/// # Errors
/// When Postgres does.
pub async fn set_plan(
    db: &Db,
    actor: UserId,
    user_id: UserId,
    plan: &PlanId,
    why: Option<&str>,
    now: OffsetDateTime,
) -> Result<bool> {
    let mut tx = crate::begin(db).await?;
    let Some(before) =
        sqlx::query!("select granted_plan_id from account where user_id = $1 for no key update", Uuid::from(user_id))
            .fetch_optional(&mut *tx)
            .await?
    else {
        return Ok(false);
    };
    let known = sqlx::query!("select 1 as one from plan where plan_id = $1", plan.0).fetch_optional(&mut *tx).await?;
    if known.is_none() {
        return Ok(false);
    }
    let before = before.granted_plan_id.unwrap_or_else(|| FREE.to_owned());
    if before != plan.0 {
        let granted = Some(plan.0.as_str()).filter(|plan| *plan != FREE);
        sqlx::query!("update account set granted_plan_id = $2 where user_id = $1", Uuid::from(user_id), granted)
            .execute(&mut *tx)
            .await?;
        let entry = crate::audit::Entry {
            actor: Some(actor),
            subject: Some(user_id),
            action: "set_plan",
            before: Some(&before),
            after: Some(&plan.0),
            why,
        };
        crate::audit::write(&mut *tx, &entry, now).await?;
    }
    crate::subscription::entitle(&mut tx, user_id, now).await?;
    tx.commit().await?;
    Ok(true)
}

/// The plan of everybody who neither pays nor was given one.
pub(crate) const FREE: &str = "free";

/// What billing needs to know of a person.
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

/// A person as billing sees them.
///
/// # Errors
/// When Postgres does.
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
/// When Postgres does.
pub async fn hold(tx: &mut crate::Tx, user_id: UserId) -> Result<bool> {
    let row = sqlx::query!("select 1 as one from account where user_id = $1 for no key update", Uuid::from(user_id))
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.is_some())
}

/// Whose customer this is.
///
/// # Errors
/// When Postgres does.
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
/// When Postgres does.
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
/// When Postgres does.
pub async fn unlink_customer(db: impl PgExecutor<'_>, customer_id: &str) -> Result<()> {
    sqlx::query!("update account set stripe_customer_id = null where stripe_customer_id = $1", customer_id)
        .execute(db)
        .await?;
    Ok(())
}

/// The job that cancels what a deleted account paid for.
pub const CLOSE_CUSTOMER: &str = "close_customer";

fn close_key(customer_id: &str) -> String {
    format!("{CLOSE_CUSTOMER}:{customer_id}")
}

/// Whether the account of a customer was deleted here: what an empty or restored database can't claim.
///
/// # Errors
/// When Postgres does.
pub async fn was_deleted(db: impl PgExecutor<'_>, customer_id: &str) -> Result<bool> {
    let row =
        sqlx::query!("select 1 as one from job where key = $1", close_key(customer_id)).fetch_optional(db).await?;
    Ok(row.is_some())
}

/// Every customer that is linked here.
///
/// # Errors
/// When Postgres does.
pub async fn customers(db: impl PgExecutor<'_>) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!(
        r#"select stripe_customer_id as "customer!" from account where stripe_customer_id is not null
           union select customer_id from subscription where status not in ('canceled', 'incomplete_expired')"#
    )
    .fetch_all(db)
    .await?)
}

/// Deletes an account, and leaves the cancelling of what it paid for as a job, in one transaction. The ledger stays.
/// False where nobody is there, or only this admin is.
///
/// # Errors
/// When Postgres does.
pub async fn delete(db: &Db, user_id: UserId, now: OffsetDateTime) -> Result<bool> {
    let mut tx = crate::begin(db).await?;
    // Admins leave one by one, so that the last one sees to be the last.
    let admins = sqlx::query_scalar!("select user_id from account where role = 'admin' order by user_id for update")
        .fetch_all(&mut *tx)
        .await?;
    if admins == [Uuid::from(user_id)] {
        return Ok(false);
    }
    let customer =
        sqlx::query!("select stripe_customer_id from account where user_id = $1 for update", Uuid::from(user_id))
            .fetch_optional(&mut *tx)
            .await?;
    let Some(customer) = customer else { return Ok(false) };
    if let Some(customer) = customer.stripe_customer_id {
        let sessions = sqlx::query_scalar!(
            "select session_id from checkout where user_id = $1 and closed_at is null",
            Uuid::from(user_id)
        )
        .fetch_all(&mut *tx)
        .await?;
        let payload = serde_json::json!({ "customer_id": customer, "sessions": sessions });
        crate::job::add(&mut *tx, CLOSE_CUSTOMER, Some(&close_key(&customer)), &payload, now).await?;
    }
    sqlx::query!("delete from account where user_id = $1", Uuid::from(user_id)).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// One account in a list.
pub struct Listed {
    /// The account.
    pub user_id: UserId,
    /// Its address.
    pub email: String,
    /// Its plan.
    pub plan: PlanId,
    /// Whether it sees `/admin`.
    pub is_admin: bool,
    /// Whether it may only read.
    pub is_paused: bool,
    /// Since when it is there.
    pub created_at: OffsetDateTime,
    /// How many there are, on all pages.
    pub all: i64,
}

/// Accounts whose address holds a text, the newest first.
///
/// # Errors
/// When Postgres does.
pub async fn list(db: impl PgExecutor<'_>, search: Option<&str>, offset: i64, limit: i64) -> Result<Vec<Listed>> {
    let rows = sqlx::query!(
        r#"select user_id, email, plan_id, role, paused_at, created_at, count(*) over () as "all!" from account
           where $1::text is null or email ilike $1 order by created_at desc, user_id offset $2 limit $3"#,
        search.map(crate::heaviest::contains),
        offset,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Listed {
            user_id: row.user_id.into(),
            email: row.email,
            plan: PlanId(row.plan_id),
            is_admin: row.role == "admin",
            is_paused: row.paused_at.is_some(),
            created_at: row.created_at,
            all: row.all,
        })
        .collect())
}

/// Everybody who sees `/admin`.
///
/// # Errors
/// When Postgres does.
pub async fn admins(db: impl PgExecutor<'_>) -> Result<Vec<UserId>> {
    let ids = sqlx::query_scalar!("select user_id from account where role = 'admin' order by created_at, user_id")
        .fetch_all(db)
        .await?;
    Ok(ids.into_iter().map(Into::into).collect())
}

/// Makes an existing account an admin; false where nobody has this address. Written down like any admin's act.
///
/// # Errors
/// When Postgres does.
pub async fn make_admin(db: &Db, email: &str, now: OffsetDateTime) -> Result<bool> {
    let mut tx = crate::begin(db).await?;
    let row = sqlx::query!("update account set role = 'admin' where lower(email) = lower($1) returning user_id", email)
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else { return Ok(false) };
    let entry = crate::audit::Entry {
        actor: None,
        subject: Some(row.user_id.into()),
        action: "make_admin",
        before: None,
        after: Some("admin"),
        why: None,
    };
    crate::audit::write(&mut *tx, &entry, now).await?;
    tx.commit().await?;
    Ok(true)
}

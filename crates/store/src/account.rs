//! People with an account.

use crate::{Db, Result};
use domain::{Plan, PlanId, Tokens, UserId, Viewer};
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
                  p.plan_id, p.name as plan_name, p.sort, p.requests_per_minute, p.tokens_per_day, p.in_flight,
                  p.max_output, p.monthly_cents, p.pitch,
                  array(select pm.model from plan_model pm where pm.plan_id = p.plan_id order by pm.sort) as "models!"
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
        subject: row.subject,
        plan: Plan {
            id: PlanId(row.plan_id),
            name: row.plan_name,
            sort: row.sort,
            requests_per_minute: Tokens::from_db(row.requests_per_minute).0,
            tokens_per_day: Tokens::from_db(row.tokens_per_day),
            in_flight: Tokens::from_db(row.in_flight).0,
            max_output: Tokens::from_db(row.max_output),
            monthly_cents: row.monthly_cents,
            pitch: row.pitch,
            models: row.models.into_iter().map(Into::into).collect(),
        },
    }))
}

/// Who an admin looks at: the person, and since when they are here.
pub struct Person {
    /// The person.
    pub viewer: Viewer,
    /// When they signed up.
    pub created_at: OffsetDateTime,
}

/// One person, for an admin.
///
/// # Errors
/// When Postgres does.
pub async fn person(db: &Db, user_id: UserId) -> Result<Option<Person>> {
    let Some(viewer) = viewer(db, user_id).await? else {
        return Ok(None);
    };
    let row =
        sqlx::query!("select created_at from account where user_id = $1", Uuid::from(user_id)).fetch_one(db).await?;
    Ok(Some(Person { viewer, created_at: row.created_at }))
}

/// Puts a person on a plan and writes down who did it, in one transaction. False where person or plan doesn't exist.
///
/// # Errors
/// When Postgres does.
pub async fn set_plan(db: &Db, actor: UserId, user_id: UserId, plan: &PlanId, now: OffsetDateTime) -> Result<bool> {
    let mut tx = crate::begin(db).await?;
    let Some(before) = sqlx::query!("select plan_id from account where user_id = $1 for update", Uuid::from(user_id))
        .fetch_optional(&mut *tx)
        .await?
    else {
        return Ok(false);
    };
    let known = sqlx::query!("select 1 as one from plan where plan_id = $1", plan.0).fetch_optional(&mut *tx).await?;
    if known.is_none() {
        return Ok(false);
    }
    if before.plan_id != plan.0 {
        sqlx::query!("update account set plan_id = $2 where user_id = $1", Uuid::from(user_id), plan.0)
            .execute(&mut *tx)
            .await?;
        let entry = crate::audit::Entry {
            actor: Some(actor),
            subject: user_id,
            action: "set_plan",
            before: Some(&before.plan_id),
            after: Some(&plan.0),
        };
        crate::audit::write(&mut *tx, &entry, now).await?;
    }
    tx.commit().await?;
    Ok(true)
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
        subject: row.user_id.into(),
        action: "make_admin",
        before: None,
        after: Some("admin"),
    };
    crate::audit::write(&mut *tx, &entry, now).await?;
    tx.commit().await?;
    Ok(true)
}

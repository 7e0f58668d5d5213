//! Accounts, as admins see and change them.

use super::{FREE, viewer};
use crate::{Db, Result};
use domain::{PlanId, UserId, Viewer};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Who an admin looks at: the user, and since when they are here.
pub struct User {
    /// The user.
    pub viewer: Viewer,
    /// When they signed up.
    pub created_at: OffsetDateTime,
    /// The plan an admin gave them, if any.
    pub granted: Option<PlanId>,
}

/// One user, for an admin.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn user(db: &Db, user_id: UserId) -> Result<Option<User>> {
    let Some(viewer) = viewer(db, user_id).await? else {
        return Ok(None);
    };
    let row = sqlx::query!("select created_at, granted_plan_id from account where user_id = $1", Uuid::from(user_id))
        .fetch_one(db)
        .await?;
    Ok(Some(User { viewer, created_at: row.created_at, granted: row.granted_plan_id.map(PlanId) }))
}

/// Gives a user a plan and writes down who did it, in one transaction; what they pay for counts beside it, the larger
/// of the two holds. False where user or plan doesn't exist.
///
/// # Errors
/// Returns an error if the query fails.
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
            .fetch_optional(&mut tx)
            .await?
    else {
        return Ok(false);
    };
    let known = sqlx::query!("select 1 as one from plan where plan_id = $1", plan.0).fetch_optional(&mut tx).await?;
    if known.is_none() {
        return Ok(false);
    }
    let before = before.granted_plan_id.unwrap_or_else(|| FREE.to_owned());
    if before != plan.0 {
        let granted = Some(plan.0.as_str()).filter(|plan| *plan != FREE);
        sqlx::query!("update account set granted_plan_id = $2 where user_id = $1", Uuid::from(user_id), granted)
            .execute(&mut tx)
            .await?;
        let entry = crate::audit::Entry {
            actor: Some(actor),
            subject: Some(user_id),
            action: "set_plan",
            before: Some(&before),
            after: Some(&plan.0),
            why,
        };
        crate::audit::write(&mut tx, &entry, now).await?;
    }
    crate::subscription::entitle(&mut tx, user_id, now).await?;
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
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, search: Option<&str>, offset: i64, limit: i64) -> Result<Vec<Listed>> {
    let rows = sqlx::query!(
        r#"select user_id, email, plan_id, role, paused_at, created_at, count(*) over () as "all!" from account
           where $1::text is null or email ilike $1 order by created_at desc, user_id offset $2 limit $3"#,
        search.map(crate::top_users::contains),
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
/// Returns an error if the query fails.
pub async fn admins(db: impl PgExecutor<'_>) -> Result<Vec<UserId>> {
    let ids = sqlx::query_scalar!("select user_id from account where role = 'admin' order by created_at, user_id")
        .fetch_all(db)
        .await?;
    Ok(ids.into_iter().map(Into::into).collect())
}

/// Makes an existing account an admin; false where nobody has this address. Written down like any admin's act.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn make_admin(db: &Db, email: &str, now: OffsetDateTime) -> Result<bool> {
    let mut tx = crate::begin(db).await?;
    let row = sqlx::query!("update account set role = 'admin' where lower(email) = lower($1) returning user_id", email)
        .fetch_optional(&mut tx)
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
    crate::audit::write(&mut tx, &entry, now).await?;
    tx.commit().await?;
    Ok(true)
}

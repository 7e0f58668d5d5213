//! Account queries and changes for the admin pages.

use super::{FREE, viewer};
use crate::{Db, Result};
use domain::{AccountSummary, PlanId, UserId, Viewer};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// A user with the details that only admins see.
pub struct User {
    /// The user with their current plan.
    pub viewer: Viewer,
    /// When they signed up.
    pub created_at: OffsetDateTime,
    /// The plan granted by an admin, if any.
    pub granted: Option<PlanId>,
}

/// Loads one user for an admin. Returns `None` if the user doesn't exist.
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

/// Grants a user a plan and writes an audit row, in one transaction. The user gets the larger of the granted and the paid plan.
/// Returns false if the user or the plan doesn't exist.
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
            target: Some(user_id),
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

/// Maximum number of accounts that are counted for one network or address.
const MAX_SHARED: i64 = 1_000;
/// Number of accounts from one network from which on they count as risky: fewer are a family.
const RISKY_BLOCK: i64 = 3;
/// Number of accounts with one normalised address from which on they count as risky.
const RISKY_ADDRESS: i64 = 2;

/// Selects accounts of the admin list.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccountFilter<'a> {
    /// Only accounts whose email contains this text.
    pub search: Option<&'a str>,
    /// Only accounts of which several belong to one network or one normalised address.
    pub is_risky: bool,
}

/// Lists accounts, newest first, and returns the number of matching accounts on all pages: 0 if the page has no rows.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(
    db: impl PgExecutor<'_>,
    filter: AccountFilter<'_>,
    offset: i64,
    limit: i64,
) -> Result<(Vec<AccountSummary>, u64)> {
    let rows = sqlx::query!(
        r#"select a.user_id as "user_id!", a.email as "email!", a.plan_id as "plan_id!", a.role as "role!", a.paused_at as "paused_at?",
                  a.created_at as "created_at!", a.matching as "matching!",
                  accounts_of_block(a.sign_up_block, $7) as "same_block!", accounts_of_address(a.address_hash, $7) as "same_address!"
           from (
             select *, count(*) over () as matching from account
             where ($1::text is null or email ilike $1)
               and (not $4 or accounts_of_block(sign_up_block, $5) >= $5 or accounts_of_address(address_hash, $6) >= $6)
             order by created_at desc, user_id offset $2 limit $3
           ) a order by a.created_at desc, a.user_id"#,
        filter.search.map(crate::top_users::contains),
        offset,
        limit,
        filter.is_risky,
        RISKY_BLOCK,
        RISKY_ADDRESS,
        MAX_SHARED,
    )
    .fetch_all(db)
    .await?;
    let all = rows.first().map_or(0, |row| row.matching.unsigned_abs());
    let risky = |count: i64, from: i64| (count >= from).then(|| count.unsigned_abs());
    let accounts = rows.into_iter().map(|row| AccountSummary {
        user_id: row.user_id.into(),
        email: row.email,
        plan: PlanId(row.plan_id),
        is_admin: row.role == "admin",
        is_paused: row.paused_at.is_some(),
        created_at: row.created_at,
        same_block: risky(row.same_block, RISKY_BLOCK),
        same_address: risky(row.same_address, RISKY_ADDRESS),
    });
    Ok((accounts.collect(), all))
}

/// Lists all admins, oldest account first.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn admins(db: impl PgExecutor<'_>) -> Result<Vec<UserId>> {
    let ids = sqlx::query_scalar!("select user_id from account where role = 'admin' order by created_at, user_id")
        .fetch_all(db)
        .await?;
    Ok(ids.into_iter().map(Into::into).collect())
}

/// The result of making an account an admin by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// It is an admin.
    Done,
    /// No account has this address.
    NoAccount,
    /// Refused: the address isn't verified, so anyone may have created the account.
    Unverified,
}

/// Makes an existing account with a verified address an admin and writes an audit row.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn make_admin(db: &Db, email: &str, now: OffsetDateTime) -> Result<Promotion> {
    let mut tx = crate::begin(db).await?;
    let row = sqlx::query!(
        r#"select user_id, email_verified_at is not null as "is_verified!" from account
           where lower(email) = lower($1) for no key update"#,
        email
    )
    .fetch_optional(&mut tx)
    .await?;
    let Some(row) = row else { return Ok(Promotion::NoAccount) };
    if !row.is_verified {
        return Ok(Promotion::Unverified);
    }
    sqlx::query!("update account set role = 'admin' where user_id = $1", row.user_id).execute(&mut tx).await?;
    let entry = crate::audit::Entry {
        actor: None,
        target: Some(row.user_id.into()),
        action: "make_admin",
        before: None,
        after: Some("admin"),
        why: None,
    };
    crate::audit::write(&mut tx, &entry, now).await?;
    tx.commit().await?;
    Ok(Promotion::Done)
}

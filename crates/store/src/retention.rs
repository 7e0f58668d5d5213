//! How long conversations are kept: a number of days per plan and for the whole deployment, of which the smaller applies, and one day for
//! temporary ones.

use crate::{Db, Result};
use domain::{ConversationId, PlanId, UserId};
use sqlx::PgExecutor;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// Maximum number of days that can be set.
pub const MAX_DAYS: u32 = 3_650;
/// How long a temporary conversation is kept after its last message.
const TEMPORARY: Duration = Duration::DAY;

/// The days of one plan.
pub struct PlanRetention {
    /// The plan.
    pub plan: PlanId,
    /// Its name.
    pub name: String,
    /// Days after the last message; `None` keeps conversations.
    pub days: Option<u32>,
}

/// Returns the days after its last message at which a conversation of this user is erased; `None` if it is kept.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn days_of(db: impl PgExecutor<'_>, owner: UserId) -> Result<Option<u32>> {
    let days = sqlx::query_scalar!(
        "select least(p.retention_days, d.retention_days) from deployment d, account a join plan p using (plan_id) where a.user_id = $1",
        Uuid::from(owner),
    )
    .fetch_optional(db)
    .await?;
    Ok(days.flatten().and_then(|days| u32::try_from(days).ok()))
}

/// Loads the days of the deployment and of each plan, the smallest plan first.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>) -> Result<(Option<u32>, Vec<PlanRetention>)> {
    let rows = sqlx::query!(
        "select p.plan_id, p.name, p.retention_days, d.retention_days as of_all from plan p, deployment d order by p.sort"
    )
    .fetch_all(db)
    .await?;
    let days = |days: Option<i32>| days.and_then(|days| u32::try_from(days).ok());
    let of_all = rows.first().and_then(|row| days(row.of_all));
    let plans = rows.into_iter().map(|row| PlanRetention {
        plan: PlanId(row.plan_id),
        name: row.name,
        days: days(row.retention_days),
    });
    Ok((of_all, plans.collect()))
}

/// Sets the days of a plan, or of the deployment with `None`, and writes an audit row if they differ. Returns false if the plan doesn't
/// exist.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn set(
    db: &Db,
    actor: UserId,
    plan: Option<&PlanId>,
    days: Option<u32>,
    now: OffsetDateTime,
) -> Result<bool> {
    let new = days.and_then(|days| i32::try_from(days).ok());
    let mut tx = crate::begin(db).await?;
    let before = match plan {
        Some(plan) => {
            let found =
                sqlx::query_scalar!("select retention_days from plan where plan_id = $1 for no key update", plan.0);
            let Some(before) = found.fetch_optional(&mut tx).await? else { return Ok(false) };
            sqlx::query!("update plan set retention_days = $2 where plan_id = $1", plan.0, new)
                .execute(&mut tx)
                .await?;
            before
        }
        None => {
            let found = sqlx::query_scalar!("select retention_days from deployment for update");
            let before = found.fetch_one(&mut tx).await?;
            sqlx::query!("update deployment set retention_days = $1", new).execute(&mut tx).await?;
            before
        }
    };
    if before != new {
        let what = plan.map_or_else(|| "all plans".to_owned(), ToString::to_string);
        let describe = |days: Option<i32>| days.map_or_else(|| "kept".to_owned(), |days| format!("{days} days"));
        let entry = crate::audit::Entry {
            actor: Some(actor),
            target: None,
            action: "set_retention",
            before: Some(&format!("{what}: {}", describe(before))),
            after: Some(&describe(new)),
            why: None,
        };
        crate::audit::write(&mut tx, &entry, now).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// Erases a temporary conversation with its messages. Returns false if it doesn't exist, isn't temporary or belongs to another user. Ledger
/// and meters are not affected.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn end_temporary(db: impl PgExecutor<'_>, owner: UserId, id: ConversationId) -> Result<bool> {
    let done = sqlx::query!(
        "delete from conversation where user_id = $1 and conversation_id = $2 and is_temporary",
        Uuid::from(owner),
        Uuid::from(id),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Erases up to `limit` conversations that are past their time: temporary ones a day after their last message, others after the days of
/// their user's plan or of the deployment, which for imported ones begin at the earliest with the import. Those with a response in progress are left for the next run. Returns how many were erased.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn erase_expired(db: impl PgExecutor<'_>, now: OffsetDateTime, limit: i64) -> Result<u64> {
    // The first condition is checked again after waiting for a turn that continues the conversation, but not those of the subquery.
    let done = sqlx::query!(
        "delete from conversation where updated_at < $1 and conversation_id in (
           select c.conversation_id from deployment d, conversation c join account a using (user_id) join plan p using (plan_id)
           where c.updated_at < $1 and (
             c.is_temporary or greatest(c.updated_at, c.imported_at) < $2::timestamptz - make_interval(days => least(p.retention_days, d.retention_days))
           ) and not exists (
             select from turn t where t.conversation_id = c.conversation_id and t.ended_at is null and t.alive_until >= now()
           )
           order by c.updated_at limit $3
         )",
        now - TEMPORARY,
        now,
        limit,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

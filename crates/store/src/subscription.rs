//! Subscriptions as last fetched from Stripe, and the plan that they entitle a user to.

use crate::{Result, Tx};
use domain::{Amount, PlanId, Subscription, SubscriptionStatus, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

macro_rules! from_row {
    ($row:ident) => {
        Subscription {
            id: $row.subscription_id,
            customer_id: $row.customer_id,
            user_id: $row.user_id.map(Into::into),
            plan: $row.plan_id.map(PlanId),
            status: SubscriptionStatus::parse(&$row.status),
            period: $row.period.parse().unwrap_or(domain::Period::Other),
            amount: Amount { minor: $row.amount_minor, currency: $row.currency },
            is_adjusted: $row.is_adjusted,
            created_at: $row.created_at,
            period_end: $row.period_end,
            ends_at: $row.ends_at,
            trial_end: $row.trial_end,
            ended_at: $row.ended_at,
            grace_until: $row.grace_until,
        }
    };
}

/// Takes the lock of one customer until the transaction ends, so that data fetched under it is never older than what is already stored.
/// Must be taken before any row lock.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn lock_customer(tx: &mut Tx, customer_id: &str) -> Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('customer:' || $1, 0))", customer_id)
        .fetch_one(&mut *tx)
        .await?;
    Ok(())
}

/// Lists the stored subscriptions of a customer, oldest first.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn of_customer(db: impl PgExecutor<'_>, customer_id: &str) -> Result<Vec<Subscription>> {
    let rows = sqlx::query!("select * from subscription where customer_id = $1 order by created_at", customer_id)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|row| from_row!(row)).collect())
}

/// Lists a user's subscriptions, newest first.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn of_user(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Vec<Subscription>> {
    let rows = sqlx::query!(
        "select * from subscription where user_id = $1 order by created_at desc, subscription_id desc",
        Uuid::from(user_id)
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| from_row!(row)).collect())
}

/// Lists all subscriptions that, as last fetched, aren't over: neither `canceled` nor `incomplete_expired`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn live(db: impl PgExecutor<'_>) -> Result<Vec<Subscription>> {
    let rows = sqlx::query!(
        "select * from subscription where status not in ('canceled', 'incomplete_expired') order by subscription_id"
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| from_row!(row)).collect())
}

/// Inserts or updates a subscription as just fetched from Stripe.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn put(db: impl PgExecutor<'_>, subscription: &Subscription, now: OffsetDateTime) -> Result<()> {
    let s = subscription;
    sqlx::query!(
        "insert into subscription (subscription_id, customer_id, user_id, plan_id, status, period, amount_minor, currency,
             created_at, period_end, ends_at, trial_end, ended_at, grace_until, fetched_at, is_adjusted)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         on conflict (subscription_id) do update set
             customer_id = excluded.customer_id, user_id = excluded.user_id, plan_id = excluded.plan_id,
             status = excluded.status, period = excluded.period, amount_minor = excluded.amount_minor,
             currency = excluded.currency, is_adjusted = excluded.is_adjusted, created_at = excluded.created_at, period_end = excluded.period_end,
             ends_at = excluded.ends_at, trial_end = excluded.trial_end, ended_at = excluded.ended_at,
             grace_until = excluded.grace_until, fetched_at = excluded.fetched_at,
             -- A payment of the oldest open invoice begins a later grace period.
             grace_is_over = subscription.grace_is_over and excluded.status = 'past_due'
                 and coalesce(excluded.grace_until <= excluded.fetched_at, true)",
        s.id,
        s.customer_id,
        s.user_id.map(Uuid::from),
        s.plan.as_ref().map(|plan| plan.0.as_str()),
        s.status.as_str(),
        s.period.as_str(),
        s.amount.minor,
        s.amount.currency,
        s.created_at,
        s.period_end,
        s.ends_at,
        s.trial_end,
        s.ended_at,
        s.grace_until,
        now,
        s.is_adjusted,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A user's plan before and after [`entitle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entitled {
    /// The previous plan.
    pub before: PlanId,
    /// The current plan.
    pub after: PlanId,
}

/// Sets a user's plan to the largest of those that their subscriptions entitle them to and the one granted by an admin, else to the free
/// plan. The only writer of `account.plan_id`. Returns `None` if the user doesn't exist.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn entitle(tx: &mut Tx, user_id: UserId, now: OffsetDateTime) -> Result<Option<Entitled>> {
    let before = sqlx::query!("select plan_id from account where user_id = $1 for no key update", Uuid::from(user_id))
        .fetch_optional(&mut *tx)
        .await?;
    let Some(before) = before else { return Ok(None) };
    let after = sqlx::query_scalar!(
        r#"update account a set plan_id = e.plan_id from entitlement($2) e
           where a.user_id = $1 and e.user_id = a.user_id returning a.plan_id as "plan_id!""#,
        Uuid::from(user_id),
        now,
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Some(Entitled { before: PlanId(before.plan_id), after: PlanId(after) }))
}

/// Lists up to 500 overdue subscriptions whose grace period has ended but isn't yet marked as ended by [`end_grace`].
///
/// # Errors
/// Returns an error if the query fails.
pub async fn grace_over(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<Vec<Subscription>> {
    let rows = sqlx::query!(
        "select * from subscription where status = 'past_due' and not grace_is_over and grace_until <= $1
         order by grace_until limit 500",
        now
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| from_row!(row)).collect())
}

/// Marks a subscription's grace period as ended. Returns false if it is already marked or the grace period hasn't ended. The caller must
/// hold the account's lock.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn end_grace(tx: &mut Tx, id: &str, now: OffsetDateTime) -> Result<bool> {
    let done = sqlx::query!(
        "update subscription set grace_is_over = true
         where subscription_id = $1 and status = 'past_due' and not grace_is_over and grace_until <= $2",
        id,
        now
    )
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lists trials that end after `now` and no later than `until`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn trials_ending(
    db: impl PgExecutor<'_>,
    now: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<Vec<Subscription>> {
    let rows = sqlx::query!(
        "select * from subscription where status = 'trialing' and trial_end > $1 and trial_end <= $2",
        now,
        until
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| from_row!(row)).collect())
}

/// Records that a user has had their trial. Does nothing if one is already recorded.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn tried(db: impl PgExecutor<'_>, user_id: UserId, subscription_id: &str, at: OffsetDateTime) -> Result<()> {
    sqlx::query!(
        "insert into trial (subject, subscription_id, began_at)
         select subject, $2, $3 from account where user_id = $1 on conflict do nothing",
        Uuid::from(user_id),
        subscription_id,
        at
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lists users whose plan differs from what [`entitle`] would set.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_wrong_plans(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<Vec<UserId>> {
    let rows = sqlx::query_scalar!(
        r#"select e.user_id as "user_id!" from entitlement($1) e join account a using (user_id) where a.plan_id <> e.plan_id"#,
        now,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

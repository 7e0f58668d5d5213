//! Sessions. Only a hash of the cookie's token is stored.

use crate::Result;
use domain::{UserId, Viewer};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Stores a new session. Returns false if the token already exists.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn create(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    user_id: Option<UserId>,
    data: &serde_json::Value,
    expires_at: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "insert into session (token_hash, user_id, data, expires_at) values ($1, $2, $3, $4) on conflict do nothing",
        token_hash,
        user_id.map(Uuid::from),
        data,
        expires_at,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Updates an existing session. Does nothing if it was deleted in the meantime.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn save(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    user_id: Option<UserId>,
    data: &serde_json::Value,
    expires_at: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update session set user_id = $2, data = $3, expires_at = $4 where token_hash = $1",
        token_hash,
        user_id.map(Uuid::from),
        data,
        expires_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Loads a session's data and expiry. Returns `None` if the session doesn't exist or has expired.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    now: OffsetDateTime,
) -> Result<Option<(serde_json::Value, OffsetDateTime)>> {
    let row =
        sqlx::query!("select data, expires_at from session where token_hash = $1 and expires_at > $2", token_hash, now)
            .fetch_optional(db)
            .await?;
    Ok(row.map(|row| (row.data, row.expires_at)))
}

/// Loads the user of a live session with their current plan. One indexed query that is never cached, so that changes apply immediately on
/// every server.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn viewer(db: impl PgExecutor<'_>, token_hash: &[u8], now: OffsetDateTime) -> Result<Option<Viewer>> {
    let row = sqlx::query!(
        r#"select a.user_id, a.email, a.name, a.role, a.subject,
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
           from session n join account a using (user_id) join plan p using (plan_id)
           where n.token_hash = $1 and n.expires_at > $2"#,
        token_hash,
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Viewer {
        user_id: row.user_id.into(),
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

/// Deletes a session.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn delete(db: impl PgExecutor<'_>, token_hash: &[u8]) -> Result<()> {
    sqlx::query!("delete from session where token_hash = $1", token_hash).execute(db).await?;
    Ok(())
}

/// Deletes expired sessions and returns how many.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<u64> {
    Ok(sqlx::query!("delete from session where expires_at <= $1", now).execute(db).await?.rows_affected())
}

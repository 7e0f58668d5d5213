//! Who calls with a key. Nothing is cached, so that a revoked key, a pause and a new plan apply to the next request on every server.

use super::{ApiKey, from_row};
use crate::Result;
use domain::{ApiKeyId, Viewer};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Loads a key by the hash of its secret, with its user and the number of keys that their plan allows, in one indexed query. Returns `None` if no
/// key has this secret. The caller checks [`ApiKey::state`].
///
/// # Errors
/// Returns an error if the query fails.
pub async fn authenticate(db: impl PgExecutor<'_>, secret_hash: &[u8; 32]) -> Result<Option<(ApiKey, Viewer, i32)>> {
    let row = sqlx::query!(
        r#"select k.api_key_id, k.user_id, k.name as key_name, k.prefix, k.models as key_models, k.endpoints,
                  k.requests_per_minute as key_requests, k.tokens_per_day as key_tokens, k.dollars_per_month, k.allowed_origins,
                  k.created_at, k.last_used_at, k.expires_at, k.revoked_at, k.paused_at, k.pause_reason, k.tripped_until, k.trip_reason,
                  v.email as "email!", v.name as "name!", v.is_admin as "is_admin!", v.is_paused as "is_paused!",
                  v.time_zone as "time_zone!", v.subject as "subject!", v.plan_id as "plan_id!", v.plan_name as "plan_name!",
                  v.sort as "sort!", v.requests_per_minute as "requests_per_minute!", v.tokens_per_day as "tokens_per_day!",
                  v.in_flight as "in_flight!", v.max_output as "max_output!", v.monthly_cents as "monthly_cents!",
                  v.yearly_cents as "yearly_cents!", v.currency as "currency!", v.trial_days as "trial_days!", v.monthly_price_id,
                  v.yearly_price_id, (select p.storage_bytes from plan p where p.plan_id = v.plan_id) as "storage_bytes!", v.pitch as "pitch!", v.shows_cost as "shows_cost!", v.models as "models!", v.grace_until,
                  v.is_verified as "is_verified!", (select p.api_keys from plan p where p.plan_id = v.plan_id) as "max_keys!"
           from api_key k join viewer v using (user_id) where k.secret_hash = $1"#,
        &secret_hash[..],
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| {
        let viewer = crate::account::viewer_from_row!(row, None, false);
        let max_keys = row.max_keys;
        (from_row!(row), viewer, max_keys)
    }))
}

/// Records a use of a key, unless one was recorded less than a minute before.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn mark_used(db: impl PgExecutor<'_>, id: ApiKeyId, now: OffsetDateTime) -> Result<()> {
    sqlx::query!(
        "update api_key set last_used_at = $2
         where api_key_id = $1 and (last_used_at is null or last_used_at <= $2::timestamptz - interval '1 minute')",
        Uuid::from(id),
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns whether any key that isn't revoked allows calls from web pages of an origin. A preflight names no key, so all keys are searched.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn is_allowed_origin(db: impl PgExecutor<'_>, origin: &str) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select exists (select from api_key where allowed_origins @> array[$1] and revoked_at is null) as "is_allowed!""#,
        origin,
    )
    .fetch_one(db)
    .await?)
}

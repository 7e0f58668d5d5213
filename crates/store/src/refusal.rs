//! Refusals by person, kind and hour: counted in memory, flushed here.

use crate::Result;
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Adds a count to its hour; a person who is gone is passed over.
///
/// # Errors
/// When Postgres does.
pub async fn add(db: impl PgExecutor<'_>, user: UserId, kind: &str, at: OffsetDateTime, n: i64) -> Result<()> {
    sqlx::query!(
        "insert into refusal_hour (user_id, kind, hour, n)
         select user_id, $2, date_trunc('hour', $3::timestamptz), $4 from account where user_id = $1
         on conflict (user_id, kind, hour) do update set n = refusal_hour.n + excluded.n",
        Uuid::from(user),
        kind,
        at,
        n,
    )
    .execute(db)
    .await?;
    Ok(())
}

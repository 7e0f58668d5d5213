//! Refusals by user, kind and hour; counted in memory and flushed here.

use crate::Result;
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Adds a count to its hour; a user who is gone is passed over.
///
/// # Errors
/// Returns an error if the query fails.
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

/// How often anybody was refused for a reason since an instant, to the hour.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn since(db: impl PgExecutor<'_>, kind: &str, since: OffsetDateTime) -> Result<i64> {
    let sql = sqlx::query_scalar!(
        r#"select coalesce(sum(n), 0)::bigint as "n!" from refusal_hour where kind = $1 and hour >= date_trunc('hour', $2::timestamptz, 'UTC')"#,
        kind,
        since,
    );
    Ok(sql.fetch_one(db).await?)
}

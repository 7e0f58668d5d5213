//! Counts of refused requests per user, kind and hour. They are counted in memory and flushed to this table.

use crate::Result;
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Adds `n` refusals to the hour that contains `at`. Does nothing if the user no longer exists.
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

/// Counts the refusals of one kind, over all users, since the start of the UTC hour that contains `since`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn since(db: impl PgExecutor<'_>, kind: &str, since: OffsetDateTime) -> Result<i64> {
    let query = sqlx::query_scalar!(
        r#"select coalesce(sum(n), 0)::bigint as "n!" from refusal_hour where kind = $1 and hour >= date_trunc('hour', $2::timestamptz, 'UTC')"#,
        kind,
        since,
    );
    Ok(query.fetch_one(db).await?)
}

//! Jobs: work committed with its cause and done after it, at least once, such as mail.

use crate::{Result, Tx, interval};
use serde_json::Value;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Adds a job. One whose key is there already, done or not, is the same job.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn add(
    db: impl PgExecutor<'_>,
    kind: &str,
    key: Option<&str>,
    payload: &Value,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "insert into job (job_id, kind, key, payload, created_at, run_at) values ($1, $2, $3, $4, $5, now())
         on conflict (key) do nothing",
        Uuid::now_v7(),
        kind,
        key,
        payload,
        now
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A job.
pub struct Job {
    /// Its id.
    pub id: Uuid,
    /// What is to be done.
    pub kind: String,
    /// With what.
    pub payload: Value,
    /// How often it was tried before.
    pub attempts: i32,
    /// When it was added.
    pub created_at: OffsetDateTime,
}

/// Takes the oldest job that is due by Postgres' clock; no other worker gets it while the transaction is open.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn take(tx: &mut Tx) -> Result<Option<Job>> {
    let row = sqlx::query!(
        "select job_id, kind, payload, attempts, created_at from job
         where done_at is null and dead_at is null and run_at <= now()
         order by run_at limit 1 for update skip locked"
    )
    .fetch_optional(&mut *tx)
    .await?;
    Ok(row.map(|row| Job {
        id: row.job_id,
        kind: row.kind,
        payload: row.payload,
        attempts: row.attempts,
        created_at: row.created_at,
    }))
}

/// It is done.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn done(tx: &mut Tx, id: Uuid, now: OffsetDateTime) -> Result<()> {
    sqlx::query!("update job set done_at = $2, error = null where job_id = $1", id, now).execute(&mut *tx).await?;
    Ok(())
}

/// Records a failure. The job is tried again after a pause, by Postgres' clock, or becomes a dead letter where there is none.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn failed(
    db: impl PgExecutor<'_>,
    id: Uuid,
    error: &str,
    retry_in: Option<time::Duration>,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update job set attempts = attempts + 1, error = $2, run_at = coalesce(now() + $3::interval, run_at),
             dead_at = case when $3::interval is null then $4::timestamptz end
         where job_id = $1 and done_at is null",
        id,
        error,
        retry_in.map(interval),
        now
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What the queue holds, for the owner.
pub struct Queue {
    /// Jobs that wait.
    pub waiting: i64,
    /// Jobs that were given up.
    pub dead: i64,
    /// Why the last of them was.
    pub last_error: Option<String>,
}

/// The queue, for the owner.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn queue(db: impl PgExecutor<'_>) -> Result<Queue> {
    let row = sqlx::query!(
        r#"select count(*) filter (where dead_at is null) as "waiting!", count(*) filter (where dead_at is not null) as "dead!",
                  (array_agg(error order by dead_at desc) filter (where dead_at is not null))[1] as last_error
           from job where done_at is null"#
    )
    .fetch_one(db)
    .await?;
    Ok(Queue { waiting: row.waiting, dead: row.dead, last_error: row.last_error })
}

/// Makes the dead ones due again.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn replay(db: impl PgExecutor<'_>) -> Result<()> {
    sqlx::query!("update job set dead_at = null, attempts = 0, run_at = now() where dead_at is not null")
        .execute(db)
        .await?;
    Ok(())
}

/// The newest jobs of a kind, done or not: the development outbox.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn latest(db: impl PgExecutor<'_>, kind: &str, limit: i64) -> Result<Vec<Job>> {
    let rows = sqlx::query!(
        "select job_id, kind, payload, attempts, created_at from job where kind = $1 order by created_at desc, job_id desc limit $2",
        kind,
        limit
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Job {
            id: row.job_id,
            kind: row.kind,
            payload: row.payload,
            attempts: row.attempts,
            created_at: row.created_at,
        })
        .collect())
}

//! Background jobs, such as sending mail. A job is committed in the transaction that causes it and runs afterwards, at least once.

use crate::{Result, Tx, interval};
use serde_json::Value;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Adds a job. Does nothing if a job with the same key exists, done or not.
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

/// A queued job.
pub struct Job {
    /// Job id.
    pub id: Uuid,
    /// Kind of work.
    pub kind: String,
    /// Input of the work.
    pub payload: Value,
    /// Number of earlier attempts.
    pub attempts: i32,
    /// When it was added.
    pub created_at: OffsetDateTime,
}

/// Which jobs a worker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Mails and alerts. A mail server that can't be reached takes long to fail, for each of them.
    Messages,
    /// All others, such as closing a customer in Stripe, which must not wait for that.
    Others,
}

/// Takes the job that has been due longest, by Postgres' clock. No other worker can take it while the transaction is open.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn take(tx: &mut Tx, lane: Lane) -> Result<Option<Job>> {
    let row = sqlx::query!(
        "select job_id, kind, payload, attempts, created_at from job
         where done_at is null and dead_at is null and run_at <= now() and (kind in ('mail', 'alert_webhook')) = $1
         order by run_at limit 1 for update skip locked",
        lane == Lane::Messages,
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

/// Marks a job as done.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn done(tx: &mut Tx, id: Uuid, now: OffsetDateTime) -> Result<()> {
    sqlx::query!("update job set done_at = $2, error = null where job_id = $1", id, now).execute(&mut *tx).await?;
    Ok(())
}

/// Records a failure. The job is retried after `retry_in`, by Postgres' clock, or becomes a dead letter if that is `None`.
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

/// Counts of unfinished jobs, for the admin pages.
pub struct Queue {
    /// Jobs waiting to run.
    pub waiting: i64,
    /// Dead letters that can be retried: jobs that failed too often.
    pub dead: i64,
    /// Dead letters whose content was erased.
    pub erased: i64,
    /// Error of the most recent dead letter.
    pub last_error: Option<String>,
}

/// Loads the state of the queue.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn queue(db: impl PgExecutor<'_>) -> Result<Queue> {
    let row = sqlx::query!(
        r#"select count(*) filter (where dead_at is null) as "waiting!",
                  count(*) filter (where dead_at is not null and payload <> '{}') as "dead!",
                  count(*) filter (where dead_at is not null and payload = '{}') as "erased!",
                  (array_agg(error order by dead_at desc) filter (where dead_at is not null))[1] as last_error
           from job where done_at is null"#
    )
    .fetch_one(db)
    .await?;
    Ok(Queue { waiting: row.waiting, dead: row.dead, erased: row.erased, last_error: row.last_error })
}

/// Makes all dead letters due again and resets their attempts, except those whose content was erased.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn replay(db: impl PgExecutor<'_>) -> Result<()> {
    sqlx::query!(
        "update job set dead_at = null, attempts = 0, run_at = now() where dead_at is not null and payload <> '{}'"
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Removes the content of jobs that were done before `done_before`, and of mails and alerts that became dead letters before `dead_before`:
/// they have recipients, seeds of links and other personal data. Their keys are kept, so that none is added again. A dead letter that closes
/// a customer in Stripe keeps its content until it succeeds, because a subscription may go on. Returns how many.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn erase_contents(
    db: impl PgExecutor<'_>,
    done_before: OffsetDateTime,
    dead_before: OffsetDateTime,
) -> Result<u64> {
    let erased = sqlx::query!(
        "update job set payload = '{}'
         where payload <> '{}' and (done_at < $1 or (dead_at < $2 and kind in ('mail', 'alert_webhook')))",
        done_before,
        dead_before,
    )
    .execute(db)
    .await?;
    Ok(erased.rows_affected())
}

/// Deletes dead letters without content that failed before an instant. Returns how many.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<u64> {
    Ok(sqlx::query!("delete from job where dead_at < $1 and payload = '{}'", before).execute(db).await?.rows_affected())
}

/// Lists the newest jobs of a kind, done or not, at most `limit`. Used by the development outbox.
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

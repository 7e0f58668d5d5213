//! The inbox of Stripe events. Each event is stored once, at least until its effect is committed.

use crate::{Db, Result, Tx, interval};
use domain::DeadLetter;
use sqlx::PgExecutor;
use time::OffsetDateTime;

/// A received event.
pub struct NewEvent<'a> {
    /// Stripe's event id; a second delivery has the same one.
    pub id: &'a str,
    /// Stripe's event type.
    pub kind: &'a str,
    /// The customer concerned, if the event names one.
    pub customer_id: Option<&'a str>,
    /// The signed body.
    pub body: &'a str,
    /// When the event was created, by Stripe's clock.
    pub created_at: OffsetDateTime,
    /// Whether this app handles events of this type. Others are stored as already done.
    pub matters: bool,
}

/// Stores an event. Returns false if it was already stored.
///
/// # Errors
/// Returns an error if the query fails. Stripe must then send the event again.
pub async fn receive(db: impl PgExecutor<'_>, event: &NewEvent<'_>, now: OffsetDateTime) -> Result<bool> {
    let done = sqlx::query!(
        "insert into stripe_event (event_id, type, customer_id, body, created_at, received_at, run_at, done_at)
         values ($1, $2, $3, $4, $5, $6, now(), $7) on conflict do nothing",
        event.id,
        event.kind,
        event.customer_id,
        event.body,
        event.created_at,
        now,
        (!event.matters).then_some(now),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// An event that is due.
pub struct Due {
    /// Event id.
    pub id: String,
    /// Stripe's event type.
    pub kind: String,
    /// The signed body.
    pub body: String,
    /// Number of earlier attempts.
    pub attempts: i32,
}

/// Takes the event that has been due longest, by Postgres' clock. No other worker can take it while the transaction is open.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn take(tx: &mut Tx) -> Result<Option<Due>> {
    let row = sqlx::query!(
        "select event_id, type as kind, body, attempts from stripe_event
         where done_at is null and dead_at is null and run_at <= now()
         order by run_at limit 1 for update skip locked"
    )
    .fetch_optional(&mut *tx)
    .await?;
    Ok(row.map(|row| Due { id: row.event_id, kind: row.kind, body: row.body, attempts: row.attempts }))
}

/// Marks an event as done, in the transaction that commits its effect.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn done(tx: &mut Tx, id: &str, now: OffsetDateTime) -> Result<()> {
    sqlx::query!("update stripe_event set done_at = $2, error = null where event_id = $1", id, now)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Records a failure. The event is retried after `retry_in`, by Postgres' clock, or becomes a dead letter if that is `None`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn failed(
    db: impl PgExecutor<'_>,
    id: &str,
    error: &str,
    retry_in: Option<time::Duration>,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update stripe_event set attempts = attempts + 1, error = $2, run_at = coalesce(now() + $3::interval, run_at),
             dead_at = case when $3::interval is null then $4::timestamptz end
         where event_id = $1 and done_at is null",
        id,
        error,
        retry_in.map(interval),
        now
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Makes a dead letter due again and resets its attempts. Returns false if the event isn't a dead letter.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn replay(db: impl PgExecutor<'_>, id: &str) -> Result<bool> {
    let done = sqlx::query!(
        "update stripe_event set dead_at = null, attempts = 0, run_at = now() where event_id = $1 and dead_at is not null",
        id
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// State of the inbox.
pub struct Inbox {
    /// Number of events waiting to be processed.
    pub waiting: i64,
    /// When the oldest waiting event was received.
    pub oldest: Option<OffsetDateTime>,
    /// When the last event was received.
    pub last: Option<OffsetDateTime>,
    /// Dead letters, newest first, at most 100.
    pub dead_letters: Vec<DeadLetter>,
}

/// Loads the state of the inbox for the admin pages.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn inbox(db: &Db) -> Result<Inbox> {
    let counts = sqlx::query!(
        r#"select count(*) as "waiting!", min(received_at) as oldest, (select max(received_at) from stripe_event) as last
           from stripe_event where done_at is null and dead_at is null"#
    )
    .fetch_one(db)
    .await?;
    let dead_letters = sqlx::query!(
        r#"select event_id, type as kind, error, attempts, dead_at as "dead_at!" from stripe_event
           where dead_at is not null order by dead_at desc limit 100"#
    )
    .fetch_all(db)
    .await?;
    Ok(Inbox {
        waiting: counts.waiting,
        oldest: counts.oldest,
        last: counts.last,
        dead_letters: dead_letters
            .into_iter()
            .map(|row| DeadLetter {
                id: row.event_id,
                kind: row.kind,
                error: row.error,
                attempts: row.attempts,
                dead_at: row.dead_at,
            })
            .collect(),
    })
}

/// Deletes events that were done before `before`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<()> {
    sqlx::query!("delete from stripe_event where done_at < $1", before).execute(db).await?;
    Ok(())
}

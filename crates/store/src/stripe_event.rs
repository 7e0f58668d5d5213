//! The inbox: every Stripe event once, until its effect is committed.

use crate::{Db, Result, Tx, interval};
use sqlx::PgExecutor;
use time::OffsetDateTime;

/// An event as it came.
pub struct NewEvent<'a> {
    /// Stripe's id: a second copy of it is the same event.
    pub id: &'a str,
    /// What happened, as Stripe names it.
    pub kind: &'a str,
    /// Whom it is about, where it says.
    pub customer_id: Option<&'a str>,
    /// The signed bytes.
    pub body: &'a str,
    /// When it happened, by Stripe's clock.
    pub created_at: OffsetDateTime,
    /// Whether somebody here waits for it; others are kept and done.
    pub matters: bool,
}

/// Takes an event in; false where it was here already.
///
/// # Errors
/// Returns an error if the query fails; then Stripe must send the event again.
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
    /// Its id.
    pub id: String,
    /// What happened.
    pub kind: String,
    /// The signed bytes.
    pub body: String,
    /// How often it was tried before.
    pub attempts: i32,
}

/// Takes the oldest event that is due by Postgres' clock; no other worker gets it while the transaction is open.
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

/// Its effect commits with this.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn done(tx: &mut Tx, id: &str, now: OffsetDateTime) -> Result<()> {
    sqlx::query!("update stripe_event set done_at = $2, error = null where event_id = $1", id, now)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Records a failure. The event is tried again after a pause, by Postgres' clock, or becomes a dead letter where there is none.
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

/// Makes a dead letter due again; false where it isn't one.
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

/// A dead letter.
pub struct Dead {
    /// Its id.
    pub id: String,
    /// What happened.
    pub kind: String,
    /// Why it failed the last time.
    pub error: Option<String>,
    /// How often it was tried.
    pub attempts: i32,
    /// When it was given up.
    pub dead_at: OffsetDateTime,
}

/// What stands in the inbox.
pub struct Inbox {
    /// Events that wait for their effect.
    pub waiting: i64,
    /// Since when the oldest of them does.
    pub oldest: Option<OffsetDateTime>,
    /// When the last event came.
    pub last: Option<OffsetDateTime>,
    /// Those that were given up, the newest first, at most a hundred.
    pub dead: Vec<Dead>,
}

/// The inbox, for the owner.
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
    let dead = sqlx::query!(
        r#"select event_id, type as kind, error, attempts, dead_at as "dead_at!" from stripe_event
           where dead_at is not null order by dead_at desc limit 100"#
    )
    .fetch_all(db)
    .await?;
    Ok(Inbox {
        waiting: counts.waiting,
        oldest: counts.oldest,
        last: counts.last,
        dead: dead
            .into_iter()
            .map(|row| Dead {
                id: row.event_id,
                kind: row.kind,
                error: row.error,
                attempts: row.attempts,
                dead_at: row.dead_at,
            })
            .collect(),
    })
}

/// Drops what was done before an instant.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<()> {
    sqlx::query!("delete from stripe_event where done_at < $1", before).execute(db).await?;
    Ok(())
}

//! Alerts: opened once, closed once.

use crate::{Result, Tx};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// One cause, as it stands or stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its id.
    pub id: Uuid,
    /// What kind: `user_share`, `spend_cap`, `circuit`, `dead_letters`, `drift`.
    pub kind: String,
    /// What it is about, within its kind.
    pub about: String,
    /// In words.
    pub said: String,
    /// Since when.
    pub began_at: OffsetDateTime,
    /// When it was last seen.
    pub seen_at: OffsetDateTime,
    /// Until when.
    pub ended_at: Option<OffsetDateTime>,
}

/// Waits until nobody else looks; they wait until this transaction is over.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn lock(tx: &mut Tx) -> Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtext('alert'))").fetch_one(&mut *tx).await?;
    Ok(())
}

/// What stands.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn fakeg(db: impl PgExecutor<'_>) -> Result<Vec<Alert>> {
    Ok(sqlx::query_as!(
        Alert,
        "select alert_id as id, kind, about, said, began_at, seen_at, ended_at from alert where ended_at is null"
    )
    .fetch_all(db)
    .await?)
}

/// Notes that a cause is seen; its id where it wasn't fakeg before.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn seen(tx: &mut Tx, kind: &str, about: &str, said: &str, now: OffsetDateTime) -> Result<Option<Uuid>> {
    let row = sqlx::query!(
        r#"insert into alert as a (alert_id, kind, about, said, began_at, seen_at) values ($1, $2, $3, $4, $5, $5)
           on conflict (kind, about) where ended_at is null do update set seen_at = excluded.seen_at, said = excluded.said
           returning alert_id, (xmax = 0) as "is_new!""#,
        Uuid::now_v7(),
        kind,
        about,
        said,
        now,
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(row.is_new.then_some(row.alert_id))
}

/// Ends what of a kind wasn't seen since an instant, and answers it.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn end_unseen(tx: &mut Tx, kind: &str, since: OffsetDateTime, now: OffsetDateTime) -> Result<Vec<Alert>> {
    Ok(sqlx::query_as!(
        Alert,
        "update alert set ended_at = $3 where ended_at is null and kind = $1 and seen_at < $2
         returning alert_id as id, kind, about, said, began_at, seen_at, ended_at",
        kind,
        since,
        now,
    )
    .fetch_all(&mut *tx)
    .await?)
}

/// What stands, and what ended last; the latest first.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<Alert>> {
    Ok(sqlx::query_as!(
        Alert,
        "select alert_id as id, kind, about, said, began_at, seen_at, ended_at from alert
         order by ended_at is not null, began_at desc limit $1",
        limit
    )
    .fetch_all(db)
    .await?)
}

//! Alerts: each is opened once when its cause begins and closed once when it is over.

use crate::{Result, Tx};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// An alert, open or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Alert id.
    pub id: Uuid,
    /// Kind: `user_share`, `spend_cap`, `circuit`, `dead_letters`, `drift`.
    pub kind: String,
    /// Key of the cause within the kind, such as a user or a provider. At most one alert per kind and key is open.
    pub about: String,
    /// Description for admins.
    pub message: String,
    /// When it was opened.
    pub began_at: OffsetDateTime,
    /// When its cause was last observed.
    pub seen_at: OffsetDateTime,
    /// When it was closed; `None` while open.
    pub ended_at: Option<OffsetDateTime>,
}

/// Takes the lock for checking alerts until the transaction ends, so that only one server checks at a time.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn lock(tx: &mut Tx) -> Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtext('alert'))").fetch_one(&mut *tx).await?;
    Ok(())
}

/// Lists the open alerts.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_open(db: impl PgExecutor<'_>) -> Result<Vec<Alert>> {
    Ok(sqlx::query_as!(
        Alert,
        "select alert_id as id, kind, about, message, began_at, seen_at, ended_at from alert where ended_at is null"
    )
    .fetch_all(db)
    .await?)
}

/// Opens an alert, or updates the open one of the same kind and key. Returns the id if the alert is new.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn seen(tx: &mut Tx, kind: &str, about: &str, message: &str, now: OffsetDateTime) -> Result<Option<Uuid>> {
    let row = sqlx::query!(
        r#"insert into alert as a (alert_id, kind, about, message, began_at, seen_at) values ($1, $2, $3, $4, $5, $5)
           on conflict (kind, about) where ended_at is null do update set seen_at = excluded.seen_at, message = excluded.message
           returning alert_id, (xmax = 0) as "is_new!""#,
        Uuid::now_v7(),
        kind,
        about,
        message,
        now,
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(row.is_new.then_some(row.alert_id))
}

/// Closes the open alerts of a kind whose cause hasn't been observed since `since`, and returns them.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn end_unseen(tx: &mut Tx, kind: &str, since: OffsetDateTime, now: OffsetDateTime) -> Result<Vec<Alert>> {
    Ok(sqlx::query_as!(
        Alert,
        "update alert set ended_at = $3 where ended_at is null and kind = $1 and seen_at < $2
         returning alert_id as id, kind, about, message, began_at, seen_at, ended_at",
        kind,
        since,
        now,
    )
    .fetch_all(&mut *tx)
    .await?)
}

/// Deletes alerts that ended before an instant: their messages name users. Returns how many.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<u64> {
    Ok(sqlx::query!("delete from alert where ended_at < $1", before).execute(db).await?.rows_affected())
}

/// Lists alerts, open ones first, then newest first, at most `limit`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<Alert>> {
    Ok(sqlx::query_as!(
        Alert,
        "select alert_id as id, kind, about, message, began_at, seen_at, ended_at from alert
         order by ended_at is not null, began_at desc limit $1",
        limit
    )
    .fetch_all(db)
    .await?)
}

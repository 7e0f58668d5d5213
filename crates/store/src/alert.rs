//! What the owner is told of: once when it begins, once when it is over.

use crate::{Result, Tx};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// One cause, as it stands or stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its id.
    pub id: Uuid,
    /// What kind: `person_share`, `spend_cap`, `circuit`, `dead_letters`, `drift`.
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

/// Whether this transaction is the one that looks; others who look at the same time have nothing to do.
///
/// # Errors
/// When Postgres does.
pub async fn alone(tx: &mut Tx) -> Result<bool> {
    Ok(sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock(hashtext('alert')) as "is_alone!""#)
        .fetch_one(&mut **tx)
        .await?)
}

/// Notes that a cause is seen; its id where it wasn't standing before.
///
/// # Errors
/// When Postgres does.
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
    .fetch_one(&mut **tx)
    .await?;
    Ok(row.is_new.then_some(row.alert_id))
}

/// Ends what wasn't seen since an instant, and answers it.
///
/// # Errors
/// When Postgres does.
pub async fn end_unseen(tx: &mut Tx, kinds: &[&str], since: OffsetDateTime, now: OffsetDateTime) -> Result<Vec<Alert>> {
    let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    Ok(sqlx::query_as!(
        Alert,
        "update alert set ended_at = $3 where ended_at is null and kind = any($1) and seen_at < $2
         returning alert_id as id, kind, about, said, began_at, seen_at, ended_at",
        &kinds,
        since,
        now,
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// What stands, and what ended last; the latest first.
///
/// # Errors
/// When Postgres does.
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

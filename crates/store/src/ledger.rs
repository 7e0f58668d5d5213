//! Maintenance of the ledger: partitions and deletion of old months.

use crate::{Db, Result};
use sqlx::PgExecutor;
use time::OffsetDateTime;

/// Creates the ledger's partitions for the next 93 days.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn make_months_ahead(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<()> {
    make_months(db, now, now + time::Duration::days(93)).await
}

/// Creates the ledger's partitions for a period. Does nothing for months that have one.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn make_months(db: impl PgExecutor<'_>, first: OffsetDateTime, last: OffsetDateTime) -> Result<()> {
    sqlx::query!("select ai_usage_create_partitions($1, $2)", first, last).fetch_one(db).await?;
    Ok(())
}

/// Drops the partitions of months that lie wholly before an instant. Returns the number of dropped months. Their sums stay in the rollups.
///
/// # Errors
/// Returns an error if a statement fails or a lock is not granted within one second; then nothing is changed.
pub async fn drop_before(db: &Db, before: OffsetDateTime) -> Result<i32> {
    let mut tx = crate::begin(db).await?;
    // Dropping waits for transactions that read the ledger, and new readers queue behind the drop. The timeout bounds their wait.
    sqlx::query!("set local lock_timeout = '1s'").execute(&mut tx).await?;
    let dropped = sqlx::query_scalar!(r#"select ai_usage_drop($1) as "n!""#, before).fetch_one(&mut tx).await?;
    tx.commit().await?;
    Ok(dropped)
}

/// Returns the start of the kept ledger rows, or `None` if no month was ever dropped.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn kept_from(db: impl PgExecutor<'_>) -> Result<Option<OffsetDateTime>> {
    Ok(sqlx::query_scalar!("select ledger_from from deployment").fetch_one(db).await?)
}

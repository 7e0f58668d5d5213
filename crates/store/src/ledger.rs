//! Maintenance of the ledger: partitions and deletion of old months.

use crate::{Db, Result};
use sqlx::PgExecutor;
use time::OffsetDateTime;

/// How far ahead the ledger's partitions are created. It is less than the three months for which migration 0005 creates them.
const AHEAD: time::Duration = time::Duration::days(85);

/// Creates the ledger's partitions for the next 85 days.
///
/// # Errors
/// Returns an error if a statement fails or a lock is not granted within one second; then nothing is changed.
pub async fn make_months_ahead(db: &Db, now: OffsetDateTime) -> Result<()> {
    make_months(db, now, now + AHEAD).await
}

/// Creates the ledger's partitions for a period. Does nothing for months that have one.
///
/// # Errors
/// Returns an error if a statement fails or a lock is not granted within one second; then nothing is changed.
pub async fn make_months(db: &Db, first: OffsetDateTime, last: OffsetDateTime) -> Result<()> {
    let mut tx = crate::begin(db).await?;
    // A month waits for transactions that use the ledger, and new ones queue behind it. The timeout bounds their wait.
    sqlx::query!("set local lock_timeout = '1s'").execute(&mut tx).await?;
    sqlx::query!("select ai_usage_create_partitions($1, $2)", first, last).fetch_one(&mut tx).await?;
    tx.commit().await
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

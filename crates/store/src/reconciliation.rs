//! Results of reconciling with Stripe.

use crate::Result;
use serde_json::Value;
use sqlx::PgExecutor;
use time::OffsetDateTime;

/// The result of one reconciliation with Stripe.
pub struct Reconciliation {
    /// When it started.
    pub began_at: OffsetDateTime,
    /// When it finished.
    pub ended_at: OffsetDateTime,
    /// Number of subscriptions compared.
    pub checked: i64,
    /// The differences found, as JSON written by the server.
    pub drift: Value,
}

/// Stores a result.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn add(db: impl PgExecutor<'_>, done: &Reconciliation) -> Result<()> {
    sqlx::query!(
        "insert into reconciliation (began_at, ended_at, checked, drift) values ($1, $2, $3, $4) on conflict do nothing",
        done.began_at,
        done.ended_at,
        done.checked,
        done.drift
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Loads the most recent result.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn last(db: impl PgExecutor<'_>) -> Result<Option<Reconciliation>> {
    let row = sqlx::query!("select * from reconciliation order by began_at desc limit 1").fetch_optional(db).await?;
    Ok(row.map(|row| Reconciliation {
        began_at: row.began_at,
        ended_at: row.ended_at,
        checked: row.checked,
        drift: row.drift,
    }))
}

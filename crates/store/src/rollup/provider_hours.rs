//! Calls by provider and hour.

use crate::Result;
use sqlx::PgExecutor;
use time::OffsetDateTime;

/// The calls to a provider in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderHour {
    /// The provider's label.
    pub provider: String,
    /// The start of the hour.
    pub hour: OffsetDateTime,
    /// Number of calls.
    pub calls: u64,
    /// Calls that the provider did not answer, or not to the end.
    pub failed: u64,
}

/// Lists the calls of all users by provider and hour, from the hour that begins at `since` on. Calls of models that were removed are left out.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn provider_hours(db: impl PgExecutor<'_>, since: OffsetDateTime) -> Result<Vec<ProviderHour>> {
    let rows = sqlx::query!(
        r#"select p.label as "provider!", t.hour as "hour!", sum(t.calls)::bigint as "calls!", sum(t.failed)::bigint as "failed!"
           from (
             select model, hour, calls, failed from usage_total where hour >= $1
             union all
             select model, hour, calls, failed from usage_delta where hour >= $1
           ) t join model m on m.model = t.model join provider p on p.provider = m.provider
           group by p.label, t.hour"#,
        since,
    )
    .fetch_all(db)
    .await?;
    let hour = |provider, hour, calls: i64, failed: i64| ProviderHour {
        provider,
        hour,
        calls: calls.max(0).cast_unsigned(),
        failed: failed.max(0).cast_unsigned(),
    };
    Ok(rows.into_iter().map(|row| hour(row.provider, row.hour, row.calls, row.failed)).collect())
}

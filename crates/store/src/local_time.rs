//! Instants as a user's clock shows them. Only Postgres knows the time zones.

use crate::{Db, Result};
use time::{OffsetDateTime, UtcOffset};

/// Returns the instants, in their order, each with the offset from UTC that it has in a time zone. In a zone that Postgres doesn't know, it is
/// zero.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn in_zone(db: &Db, zone: &str, instants: &[OffsetDateTime]) -> Result<Vec<OffsetDateTime>> {
    if instants.is_empty() {
        return Ok(Vec::new());
    }
    let zone = crate::usage::known_zone(db, zone).await?;
    let offsets = sqlx::query_scalar!(
        r#"select extract(epoch from (instant at time zone $2) - (instant at time zone 'UTC'))::int as "seconds!"
           from unnest($1::timestamptz[]) with ordinality as given (instant, n) order by n"#,
        instants,
        zone,
    )
    .fetch_all(db)
    .await?;
    let local = |(at, seconds): (&OffsetDateTime, i32)| {
        let offset = UtcOffset::from_whole_seconds(seconds).unwrap_or(UtcOffset::UTC);
        at.checked_to_offset(offset).unwrap_or(*at)
    };
    Ok(instants.iter().zip(offsets).map(local).collect())
}

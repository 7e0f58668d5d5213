//! Days and instants in a user's time zone. Postgres has the time zones.

use crate::{Db, Result};
use sqlx::PgExecutor;
use time::{Date, OffsetDateTime, UtcOffset};

/// Returns the instants, in their order, each with the offset from UTC that it has in a time zone. In a zone that Postgres doesn't have, it is
/// zero.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn in_zone(db: &Db, zone: &str, instants: &[OffsetDateTime]) -> Result<Vec<OffsetDateTime>> {
    if instants.is_empty() {
        return Ok(Vec::new());
    }
    let zone = known_zone(db, zone).await?;
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

/// Returns a stored time zone, or UTC if Postgres doesn't have it: the names differ between releases and distributions (field note 84).
///
/// # Errors
/// Returns an error if the query fails for another reason.
pub async fn known_zone<'z>(db: &Db, zone: &'z str) -> Result<&'z str> {
    // Much faster than `pg_timezone_names`, which reads the file of every zone.
    let local = sqlx::query_scalar!(r#"select now() at time zone $1::text as "local!""#, zone).fetch_one(db).await;
    match local {
        // invalid_parameter_value
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("22023") => Ok("UTC"),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(zone),
    }
}

/// Returns the current day in a time zone.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn today(db: impl PgExecutor<'_>, zone: &str, now: OffsetDateTime) -> Result<Date> {
    Ok(sqlx::query_scalar!(r#"select ($1::timestamptz at time zone $2)::date as "day!""#, now, zone)
        .fetch_one(db)
        .await?)
}

/// Returns the instant at which the current day began in a time zone, or the one in UTC if Postgres doesn't have the zone, as
/// [`known_zone`] does.
///
/// # Errors
/// Returns an error if the query fails for another reason.
pub async fn start_of_today(db: &Db, zone: &str, now: OffsetDateTime) -> Result<OffsetDateTime> {
    let start = sqlx::query_scalar!(r#"select date_trunc('day', $1::timestamptz, $2) as "at!""#, now, zone);
    match start.fetch_one(db).await {
        // invalid_parameter_value
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("22023") => {
            Ok(now.to_offset(UtcOffset::UTC).date().midnight().assume_utc())
        }
        start => Ok(start?),
    }
}

/// Returns the instant at which a day begins in a time zone.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn midnight(db: impl PgExecutor<'_>, zone: &str, day: Date) -> Result<OffsetDateTime> {
    Ok(sqlx::query_scalar!(r#"select $1::date::timestamp at time zone $2 as "at!""#, day, zone).fetch_one(db).await?)
}

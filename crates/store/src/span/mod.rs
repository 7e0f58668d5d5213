//! Spans: what everybody used in some whole hours, added up and packed, so that a period of any length is read from few rows. A period
//! is filled with the fewest of them; hours of which there is none are read user by user. Sizes are powers of two within a day and
//! of days beyond, each made of the ones before it; a call that becomes final late breaks every span it belongs to (migration 0012).

mod make;
mod totals;
mod users;

pub use make::{make, waiting};
pub use totals::{PeriodTotals, Totals, cost, read as totals, spent_in_a_day, spent_in_whole_hours};
pub use users::Sums;
pub(crate) use users::{Users, read as users};

use crate::{Result, Tx};
use time::OffsetDateTime;

/// How many hours a span has, the smallest first; each is a multiple of the one before. The trigger of migration 0012 has them too.
const SIZES: [i32; 9] = [1, 2, 4, 8, 24, 48, 96, 192, 384];
/// The largest that never holds more than one UTC day.
const DAY: i32 = 24;
/// The largest of all.
const LARGEST: i32 = 384;

/// So many hours from an instant on, which is a multiple of them since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    hours: i32,
    /// In hours since 1970.
    begins: i64,
}

impl Span {
    fn ends(self) -> i64 {
        self.begins + i64::from(self.hours)
    }

    /// The next smaller spans that it is made of; none for an hour.
    fn parts(self) -> Vec<Self> {
        let smaller = SIZES.into_iter().rfind(|size| *size < self.hours);
        let part = |hours: i32| {
            let begins = (self.begins..self.ends()).step_by(usize::try_from(hours).unwrap_or(1));
            begins.map(|begins| Self { hours, begins }).collect()
        };
        smaller.map(part).unwrap_or_default()
    }
}

/// The fewest spans, `largest` hours at most, that fill a period given in hours since 1970.
fn fewest(from: i64, to: i64, largest: i32) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut begins = from;
    while begins < to {
        let fits = |size: &i32| {
            *size <= largest && begins.rem_euclid(i64::from(*size)) == 0 && begins + i64::from(*size) <= to
        };
        let hours = SIZES.into_iter().rfind(fits).unwrap_or(1);
        spans.push(Span { hours, begins });
        begins += i64::from(hours);
    }
    spans
}

fn hour(at: OffsetDateTime) -> i64 {
    at.unix_timestamp().div_euclid(3_600)
}

fn instant(hour: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(hour.saturating_mul(3_600)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// What a period is read from.
#[derive(Default)]
struct Cover {
    /// How many hours each of its spans has.
    hours: Vec<i32>,
    /// When each of them begins.
    begins: Vec<OffsetDateTime>,
    /// The hours that have no span. They have none in a cover of smaller spans either: a span stands only where all its parts do.
    open: Vec<OffsetDateTime>,
}

/// The largest spans there are, `largest` hours at most, of a period of whole hours.
async fn cover(db: &mut Tx, from: OffsetDateTime, to: OffsetDateTime, largest: i32) -> Result<Cover> {
    let mut cover = Cover::default();
    // Nothing lies before or after.
    let known =
        sqlx::query!("select min(hour) as first, max(hour) as last from usage_hour").fetch_one(&mut *db).await?;
    let (Some(first), Some(last)) = (known.first, known.last) else { return Ok(cover) };
    let mut wanted = fewest(hour(from).max(hour(first)), hour(to).min(hour(last) + 1), largest);
    while !wanted.is_empty() {
        let (hours, begins): (Vec<i32>, Vec<OffsetDateTime>) =
            wanted.iter().map(|span| (span.hours, instant(span.begins))).unzip();
        let found = sqlx::query!(
            r#"select s.hours, s.begins_at from unnest($1::int[], $2::timestamptz[]) w (hours, begins_at)
               join usage_span s on s.hours = w.hours and s.begins_at = w.begins_at"#,
            &hours,
            &begins,
        )
        .fetch_all(&mut *db)
        .await?;
        let is_found =
            |span: &Span| found.iter().any(|row| (row.hours, hour(row.begins_at)) == (span.hours, span.begins));
        let missing = wanted.iter().filter(|span| !is_found(span));
        cover.open.extend(missing.clone().filter(|span| span.hours == 1).map(|span| instant(span.begins)));
        wanted = missing.flat_map(|span| span.parts()).collect();
        for row in found {
            cover.hours.push(row.hours);
            cover.begins.push(row.begins_at);
        }
    }
    Ok(cover)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Spans fill a period to the hour, one after the other, and are made of spans that do the same.
        #[test]
        fn a_period_is_filled(from in 490_000_i64..500_000, length in 0_i64..5_000, largest in prop::sample::select(SIZES.to_vec())) {
            let spans = fewest(from, from + length, largest);
            let mut at = from;
            for span in &spans {
                prop_assert_eq!(span.begins, at);
                prop_assert_eq!(span.begins % i64::from(span.hours), 0);
                let parts = span.parts();
                prop_assert_eq!(parts.iter().map(|part| i64::from(part.hours)).sum::<i64>(), if span.hours == 1 { 0 } else { i64::from(span.hours) });
                at = span.ends();
            }
            prop_assert_eq!(at, from + length);
            // no more than twice each size, but of the largest
            let largest = spans.iter().filter(|span| span.hours == largest).count();
            prop_assert!(spans.len() - largest <= 2 * (1 + 1 + 1 + 2 + 1 + 1 + 1 + 1));
        }
    }
}

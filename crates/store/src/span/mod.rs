//! Spans: what everybody used in some whole hours, added up and packed, so that a period of any length is read from few rows. A period
//! is filled with the fewest of them; hours of which there is none are read person by person. Sizes are powers of two within a day and
//! of days beyond, each made of the ones before it; a call that becomes final late breaks every span it belongs to (migration 0012).

mod make;
mod people;
mod totals;

pub use make::{make, waiting};
pub use people::{People, Sums};
pub(crate) use people::{read as people, unpack};
pub use totals::{House, Part, Totals, cost, read as totals, spent_in_a_day, spent_in_whole_hours};

use crate::Result;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// How many hours a span has, the smallest first; each is a multiple of the one before. The trigger of migration 0012 has them too.
const SIZES: [i32; 9] = [1, 2, 4, 8, 24, 48, 96, 192, 384];
/// The largest that never holds more than one UTC day.
const DAY: i32 = 24;

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
fn cover(from: i64, to: i64, largest: i32) -> Vec<Span> {
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

/// The columns of spans, as a query takes them.
fn columns(spans: &[Span]) -> (Vec<i32>, Vec<OffsetDateTime>) {
    spans.iter().map(|span| (span.hours, instant(span.begins))).unzip()
}

/// What a period shrinks to where the ledger has nothing before or after; in hours since 1970.
async fn within_ledger(db: &mut PgConnection, from: OffsetDateTime, to: OffsetDateTime) -> Result<(i64, i64)> {
    let known = sqlx::query!("select min(hour) as first, max(hour) as last from usage_hour").fetch_one(db).await?;
    let (Some(first), Some(last)) = (known.first, known.last) else { return Ok((0, 0)) };
    Ok((hour(from).max(hour(first)), hour(to).min(hour(last) + 1)))
}

/// What is left to look for: the parts of those that weren't found, or, of hours, the hours.
fn split(wanted: &[Span], found: &[Span], open: &mut Vec<OffsetDateTime>) -> Vec<Span> {
    let mut smaller = Vec::new();
    for span in wanted.iter().filter(|span| !found.contains(span)) {
        match span.hours {
            1 => open.push(instant(span.begins)),
            _ => smaller.extend(span.parts()),
        }
    }
    smaller
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Spans fill a period to the hour, one after the other, and are made of spans that do the same.
        #[test]
        fn a_period_is_filled(from in 490_000_i64..500_000, length in 0_i64..5_000, largest in prop::sample::select(SIZES.to_vec())) {
            let spans = cover(from, from + length, largest);
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

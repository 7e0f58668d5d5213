//! Usage by user, packed in spans and read over a period.

use super::{LARGEST, cover};
use crate::{Result, StoreError, Tx};
use domain::ModelName;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;
use time::OffsetDateTime;

/// What one user used. Differences that correct may bring any of it below nothing.
///
/// These fields in this order are what `usage_span` keeps, packed: whoever changes them empties `usage_span` in a migration, and the
/// server's task makes the spans anew (months that were dropped lose their times to first token).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Turns.
    pub requests: i64,
    /// Input tokens that came from no cache.
    pub input: i64,
    /// Input tokens read from or written to caches.
    pub cached: i64,
    /// Output tokens.
    pub output: i64,
    /// Input tokens as estimated beforehand.
    pub estimated: i64,
    /// Picodollars.
    pub cost: i64,
}

impl Sums {
    /// All tokens.
    #[must_use]
    pub fn tokens(&self) -> i64 {
        self.input.saturating_add(self.cached).saturating_add(self.output)
    }
}

impl AddAssign<&Self> for Sums {
    fn add_assign(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.input = self.input.saturating_add(other.input);
        self.cached = self.cached.saturating_add(other.cached);
        self.output = self.output.saturating_add(other.output);
        self.estimated = self.estimated.saturating_add(other.estimated);
        self.cost = self.cost.saturating_add(other.cost);
    }
}

/// Users and what they used, by the number of their subject.
pub type Users = FxHashMap<i32, Sums>;

/// As spans keep them: each by how far their number is from the one before, which is a byte where neighbours use something too.
#[derive(Serialize, Deserialize)]
struct Packed {
    further: i32,
    sums: Sums,
}

/// Packs users (postcard, <https://postcard.jamesmunns.com/wire-format>: numbers take as many bytes as they need).
pub(super) fn pack(users: &Users) -> Result<Vec<u8>> {
    let mut sorted: Vec<(i32, Sums)> = users.iter().map(|(id, sums)| (*id, *sums)).collect();
    sorted.sort_unstable_by_key(|(id, _)| *id);
    let mut before = 0;
    let packed = sorted.into_iter().map(|(id, sums)| Packed { further: id - std::mem::replace(&mut before, id), sums });
    postcard::to_allocvec(&packed.collect::<Vec<_>>()).map_err(StoreError::Span)
}

/// Adds packed users, one by one: a list of all of them first would be the larger part of the work.
pub(super) fn unpack(packed: &[u8], users: &mut Users) -> Result<()> {
    let (count, mut rest) = postcard::take_from_bytes::<usize>(packed).map_err(StoreError::Span)?;
    // No more than can be in so many bytes, whatever is said there.
    users.reserve(count.min(packed.len()).saturating_sub(users.len()));
    let mut id = 0_i32;
    for _ in 0..count {
        let (user, further) = postcard::take_from_bytes::<Packed>(rest).map_err(StoreError::Span)?;
        rest = further;
        id = id.saturating_add(user.further);
        *users.entry(id).or_default() += &user.sums;
    }
    Ok(())
}

/// Who used what in a period of whole hours, of one model or of all.
pub(crate) async fn read(
    db: &mut Tx,
    from: OffsetDateTime,
    to: OffsetDateTime,
    model: Option<&ModelName>,
) -> Result<Users> {
    let cover = cover(db, from, to, LARGEST).await?;
    let model = model.map(|model| model.0.as_str());
    let packed = sqlx::query_scalar!(
        r#"select case when $3::text is null then s.users else m.users end as users
           from unnest($1::int[], $2::timestamptz[]) w (hours, begins_at)
           join usage_span s on s.hours = w.hours and s.begins_at = w.begins_at
           left join usage_span_model m on m.hours = s.hours and m.begins_at = s.begins_at and m.model = $3"#,
        &cover.hours,
        &cover.begins,
        model,
    )
    .fetch_all(&mut *db)
    .await?;
    // Milliseconds of work in a large house: on a thread of its own, while Postgres reads the rest and others chat.
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut users = Users::default();
        packed.iter().flatten().try_for_each(|packed| unpack(packed, &mut users)).map(|()| users)
    });
    let rest = of_hours(db, &cover.open, model).await?;
    let mut users = unpacking.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    if let Some(rest) = rest {
        rest.add_to(&mut users);
    }
    Ok(users)
}

/// What was used in hours that have no span, row by row.
struct Columns {
    ids: Vec<i32>,
    requests: Vec<i64>,
    input: Vec<i64>,
    cached: Vec<i64>,
    output: Vec<i64>,
    estimated: Vec<i64>,
    cost: Vec<i64>,
}

/// The rows of hours that have no span. Most of them are somebody's only one, so that they are added up here and not in SQL, and come
/// as columns: a row for each would take three times as long.
async fn of_hours(db: &mut Tx, hours: &[OffsetDateTime], model: Option<&str>) -> Result<Option<Columns>> {
    Ok(sqlx::query_as!(
        Columns,
        r#"select array_agg(subject_id) as "ids!", array_agg(requests) as "requests!", array_agg(input_tokens) as "input!",
                  array_agg(cache_read_tokens + cache_write_tokens) as "cached!", array_agg(output_tokens) as "output!",
                  array_agg(estimated_tokens) as "estimated!", array_agg(cost_picos) as "cost!"
           from usage_hour where hour = any($1) and ($2::text is null or model = $2) having count(*) > 0"#,
        hours,
        model,
    )
    .fetch_optional(db)
    .await?)
}

impl Columns {
    fn add_to(self, users: &mut Users) {
        let [requests, input, cached] = [self.requests, self.input, self.cached].map(Vec::into_iter);
        let [output, estimated, cost] = [self.output, self.estimated, self.cost].map(Vec::into_iter);
        let rows = self.ids.into_iter().zip(requests).zip(input.zip(cached)).zip(output.zip(estimated)).zip(cost);
        for ((((id, requests), (input, cached)), (output, estimated)), cost) in rows {
            *users.entry(id).or_default() += &Sums { requests, input, cached, output, estimated, cost };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is packed is what is unpacked, also where corrections bring it below nothing; twice is twice as much.
        #[test]
        fn packing_loses_nothing(users in prop::collection::hash_map(1_i32.., prop::array::uniform6(-(1_i64 << 60)..1_i64 << 60), 0..50)) {
            let users: Users = users.into_iter().map(|(id, [requests, input, cached, output, estimated, cost])| {
                (id, Sums { requests, input, cached, output, estimated, cost })
            }).collect();
            let packed = pack(&users).unwrap();
            let mut once = Users::default();
            unpack(&packed, &mut once).unwrap();
            prop_assert_eq!(&once, &users);
            unpack(&packed, &mut once).unwrap();
            for (id, sums) in &users {
                prop_assert_eq!(once[id].cost, sums.cost * 2);
            }
            // a part of it is no packing at all
            prop_assert!(users.is_empty() || unpack(&packed[..packed.len() - 1], &mut Users::default()).is_err());
        }
    }
}

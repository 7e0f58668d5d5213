//! What the house used, model by model: the totals of spans within a day, and of the hours that have none yet.

use super::{DAY, SIZES, Span, columns, cover, hour, instant, split, within_ledger};
use crate::Result;
use domain::{ModelName, Picos, Tokens};
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashMap};
use std::ops::AddAssign;
use time::OffsetDateTime;

/// What one model did, for everybody together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Turns that asked it first.
    pub requests: i64,
    /// Calls.
    pub calls: i64,
    /// Calls that its vendor didn't answer, or not to the end.
    pub failed: i64,
    /// Input tokens that came from no cache.
    pub input: i64,
    /// Input tokens read from a cache.
    pub cache_read: i64,
    /// Input tokens written to a cache.
    pub cache_write: i64,
    /// All output tokens.
    pub output: i64,
    /// The part of them that was reasoning.
    pub reasoning: i64,
    /// Picodollars.
    pub cost: i64,
    /// How many calls took so many milliseconds to their first words, to two significant digits.
    pub first_ms: BTreeMap<i32, i64>,
}

impl AddAssign<&Self> for Totals {
    fn add_assign(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        self.input = self.input.saturating_add(other.input);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.cost = self.cost.saturating_add(other.cost);
        for (ms, calls) in &other.first_ms {
            *self.first_ms.entry(*ms).or_default() += calls;
        }
    }
}

impl Totals {
    /// What it cost.
    #[must_use]
    pub fn cost(&self) -> Picos {
        Picos(self.cost)
    }

    /// How long so many per cent of all calls took at most to their first words, to two digits: the smallest that is long enough for
    /// that many (nearest rank). None where nothing was measured.
    #[must_use]
    pub fn first_words(&self, percent: i64) -> Option<i32> {
        let all: i64 = self.first_ms.values().sum();
        let enough = (all * percent + 99) / 100;
        let mut so_far = 0;
        self.first_ms
            .iter()
            .find(|(_, calls)| {
                so_far += **calls;
                so_far >= enough.max(1)
            })
            .map(|(ms, _)| *ms)
    }

    /// Input, cached input, output and reasoning, as people read them.
    #[must_use]
    pub fn kinds(&self) -> [Tokens; 4] {
        [self.input, self.cache_read.saturating_add(self.cache_write), self.output, self.reasoning].map(Tokens::from_db)
    }
}

/// What one model did in some hours of one UTC day.
pub struct Part {
    /// When they begin.
    pub begins_at: OffsetDateTime,
    /// The model.
    pub model: ModelName,
    /// What it did.
    pub totals: Totals,
}

/// What each model did in a period.
pub struct House {
    /// In parts that never hold more than one UTC day, the earliest first.
    pub parts: Vec<Part>,
    /// Whether calls that aren't added up yet are missing in `first_ms`, because there are too many to look at one by one.
    pub lacks_first_words: bool,
}

/// So many calls that aren't added up yet are looked at one by one for how long their first words took.
const ONE_BY_ONE: i64 = 5_000;

/// What each model did in a period of whole hours.
///
/// # Errors
/// When Postgres does.
pub async fn read(db: &mut PgConnection, from: OffsetDateTime, to: OffsetDateTime) -> Result<House> {
    let (first, after) = within_ledger(db, from, to).await?;
    let (mut parts, open) = of_spans(db, first, after).await?;
    let mut rest = of_hours(db, &open).await?;
    let lacks_first_words = rest.iter().map(|part| part.totals.calls).sum::<i64>() > ONE_BY_ONE;
    if !lacks_first_words {
        add_first_words(db, &open, &mut rest).await?;
    }
    parts.extend(rest);
    parts.sort_by(|a, b| (a.begins_at, &a.model.0).cmp(&(b.begins_at, &b.model.0)));
    Ok(House { parts, lacks_first_words })
}

/// What was spent in a period of whole hours, model by model.
async fn spent(db: &mut PgConnection, from: OffsetDateTime, to: OffsetDateTime) -> Result<BTreeMap<String, Picos>> {
    let (first, after) = within_ledger(db, from, to).await?;
    let (mut spent, mut open) = (BTreeMap::<String, Picos>::new(), Vec::new());
    let mut add = |model: String, cost: i64| {
        let sum = spent.entry(model).or_default();
        *sum = sum.plus(Picos(cost));
    };
    let mut wanted = cover(first, after, SIZES.into_iter().max().unwrap_or(1));
    while !wanted.is_empty() {
        let (hours, begins) = columns(&wanted);
        let rows = sqlx::query!(
            r#"select s.hours, s.begins_at, m.model as "model?", m.cost_picos as "cost?"
               from unnest($1::int[], $2::timestamptz[]) w (hours, begins_at)
               join usage_span s on s.hours = w.hours and s.begins_at = w.begins_at
               left join usage_span_model m on m.hours = s.hours and m.begins_at = s.begins_at"#,
            &hours,
            &begins,
        )
        .fetch_all(&mut *db)
        .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            found.push(Span { hours: row.hours, begins: hour(row.begins_at) });
            row.model.zip(row.cost).into_iter().for_each(|(model, cost)| add(model, cost));
        }
        wanted = split(&wanted, &found, &mut open);
    }
    let rest = sqlx::query!(
        r#"select model, sum(cost_picos)::bigint as "cost!" from usage_hour where hour = any($1) group by model"#,
        &open,
    )
    .fetch_all(db)
    .await?;
    rest.into_iter().for_each(|row| add(row.model, row.cost));
    Ok(spent)
}

/// What was spent in a period of whole hours.
///
/// # Errors
/// When Postgres does.
pub async fn cost(db: &mut PgConnection, from: OffsetDateTime, to: OffsetDateTime) -> Result<Picos> {
    Ok(spent(db, from, to).await?.into_values().fold(Picos::ZERO, Picos::plus))
}

/// What was spent in the 24 hours before an instant, to the call, model by model: as caps count it. Looks at single calls at the edge.
///
/// # Errors
/// When Postgres does.
pub async fn spent_in_a_day(db: &mut PgConnection, now: OffsetDateTime) -> Result<BTreeMap<String, Picos>> {
    let whole = first_whole_hour(now);
    let mut all = spent(db, whole, instant(hour(now) + 1)).await?;
    let edge = sqlx::query!(
        r#"select model, sum(cost_usd) as "cost!" from ai_usage
           where created_at >= $1 and created_at < $2 and status <> 'pending' group by model"#,
        now - time::Duration::DAY,
        whole,
    )
    .fetch_all(db)
    .await?;
    for row in edge {
        let sum = all.entry(row.model).or_default();
        *sum = sum.plus(Picos::from_usd(row.cost).unwrap_or_default());
    }
    Ok(all)
}

/// What was spent in the whole hours of the 24 hours before an instant: at most what a cap counts, and quicker to know.
///
/// # Errors
/// When Postgres does.
pub async fn spent_in_whole_hours(db: &mut PgConnection, now: OffsetDateTime) -> Result<Picos> {
    cost(db, first_whole_hour(now), instant(hour(now) + 1)).await
}

/// Where the first whole hour of the 24 hours before an instant begins.
fn first_whole_hour(now: OffsetDateTime) -> OffsetDateTime {
    instant(hour(now - time::Duration::DAY - time::Duration::NANOSECOND) + 1)
}

/// What spans hold of some hours, and the hours of which there is none.
async fn of_spans(db: &mut PgConnection, first: i64, after: i64) -> Result<(Vec<Part>, Vec<OffsetDateTime>)> {
    let (mut parts, mut open) = (Vec::new(), Vec::new());
    let mut wanted = cover(first, after, DAY);
    while !wanted.is_empty() {
        let (hours, begins) = columns(&wanted);
        let rows = sqlx::query!(
            r#"select s.hours, s.begins_at, m.model as "model?", m.requests as "requests?", m.calls as "calls?", m.failed as "failed?",
                      m.input_tokens as "input?", m.cache_read_tokens as "cache_read?", m.cache_write_tokens as "cache_write?",
                      m.output_tokens as "output?", m.reasoning_tokens as "reasoning?", m.cost_picos as "cost?",
                      m.first_ms as "first_ms?", m.first_calls as "first_calls?"
               from unnest($1::int[], $2::timestamptz[]) w (hours, begins_at)
               join usage_span s on s.hours = w.hours and s.begins_at = w.begins_at
               left join usage_span_model m on m.hours = s.hours and m.begins_at = s.begins_at"#,
            &hours,
            &begins,
        )
        .fetch_all(&mut *db)
        .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            found.push(Span { hours: row.hours, begins: hour(row.begins_at) });
            let Some(model) = row.model else { continue };
            let totals = Totals {
                requests: row.requests.unwrap_or_default(),
                calls: row.calls.unwrap_or_default(),
                failed: row.failed.unwrap_or_default(),
                input: row.input.unwrap_or_default(),
                cache_read: row.cache_read.unwrap_or_default(),
                cache_write: row.cache_write.unwrap_or_default(),
                output: row.output.unwrap_or_default(),
                reasoning: row.reasoning.unwrap_or_default(),
                cost: row.cost.unwrap_or_default(),
                first_ms: row.first_ms.into_iter().flatten().zip(row.first_calls.into_iter().flatten()).collect(),
            };
            parts.push(Part { begins_at: row.begins_at, model: ModelName(model), totals });
        }
        wanted = split(&wanted, &found, &mut open);
    }
    Ok((parts, open))
}

/// What each model did in hours that have no span, from the sums per person.
pub(super) async fn of_hours(db: &mut PgConnection, hours: &[OffsetDateTime]) -> Result<Vec<Part>> {
    let rows = sqlx::query!(
        r#"select hour, model, sum(requests)::bigint as "requests!", sum(calls)::bigint as "calls!", sum(failed)::bigint as "failed!",
                  sum(input_tokens)::bigint as "input!", sum(cache_read_tokens)::bigint as "cache_read!",
                  sum(cache_write_tokens)::bigint as "cache_write!", sum(output_tokens)::bigint as "output!",
                  sum(reasoning_tokens)::bigint as "reasoning!", sum(cost_picos)::bigint as "cost!"
           from usage_hour where hour = any($1) group by hour, model"#,
        hours,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let totals = Totals {
                requests: row.requests,
                calls: row.calls,
                failed: row.failed,
                input: row.input,
                cache_read: row.cache_read,
                cache_write: row.cache_write,
                output: row.output,
                reasoning: row.reasoning,
                cost: row.cost,
                first_ms: BTreeMap::new(),
            };
            Part { begins_at: row.hour, model: ModelName(row.model), totals }
        })
        .collect())
}

/// How long the first words took in some hours, from the ledger's rows.
pub(super) async fn add_first_words(db: &mut PgConnection, hours: &[OffsetDateTime], parts: &mut [Part]) -> Result<()> {
    let rows = sqlx::query!(
        r#"select h.hour as "hour!", u.model, u.ms as "ms!", u.calls as "calls!"
           from unnest($1::timestamptz[]) h (hour)
           cross join lateral (
             select model, two_digits(first_ms) as ms, count(*) as calls from ai_usage
             where created_at >= h.hour and created_at < h.hour + interval '1 hour' and first_ms is not null and status <> 'pending'
             group by 1, 2
           ) u"#,
        hours,
    )
    .fetch_all(db)
    .await?;
    let mut of: HashMap<(OffsetDateTime, &str), &mut Totals> =
        parts.iter_mut().map(|part| ((part.begins_at, part.model.0.as_str()), &mut part.totals)).collect();
    for row in &rows {
        if let Some(totals) = of.get_mut(&(row.hour, row.model.as_str())) {
            totals.first_ms.insert(row.ms, row.calls);
        }
    }
    Ok(())
}

//! Usage of all users by model.

use crate::{Result, Tx};
use domain::Picos;
use domain::report::start_of_hour;
use std::collections::BTreeMap;
use std::ops::AddAssign;
use time::OffsetDateTime;

/// Which ledger rows are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// Rows included in the last refresh, like the report.
    Refreshed,
    /// All final rows.
    Everything,
}

impl Include {
    pub(super) fn unfolded(self) -> bool {
        self == Self::Everything
    }
}

/// Usage of one model by all users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of turns in which the model was called first.
    pub requests: i64,
    /// Number of calls.
    pub calls: i64,
    /// Calls that the provider did not answer, or not to the end.
    pub failed: i64,
    /// Uncached input tokens.
    pub input: i64,
    /// Input tokens read from a cache.
    pub cache_read: i64,
    /// Input tokens written to a cache, all lifetimes.
    pub cache_write: i64,
    /// The part of `cache_write` with the longer lifetime.
    pub cache_write_long: i64,
    /// All output tokens.
    pub output: i64,
    /// Reasoning tokens, which are part of the output.
    pub reasoning: i64,
    /// Cost in picodollars.
    pub cost: i64,
    /// Calls by time to first token in milliseconds, to two significant digits.
    pub ttft_ms: BTreeMap<i32, i64>,
}

impl AddAssign<&Self> for Totals {
    fn add_assign(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        self.input = self.input.saturating_add(other.input);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.cache_write_long = self.cache_write_long.saturating_add(other.cache_write_long);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.cost = self.cost.saturating_add(other.cost);
        for (ms, calls) in &other.ttft_ms {
            *self.ttft_ms.entry(*ms).or_default() += calls;
        }
    }
}

impl Totals {
    /// Returns the cost.
    #[must_use]
    pub fn cost(&self) -> Picos {
        Picos(self.cost)
    }

    /// Returns a percentile of the time to first token in milliseconds, to two significant digits (nearest rank). `None` without
    /// measurements.
    #[must_use]
    pub fn ttft(&self, percent: i64) -> Option<i32> {
        let all: i64 = self.ttft_ms.values().sum();
        let rank = (all * percent + 99) / 100;
        let mut so_far = 0;
        self.ttft_ms
            .iter()
            .find(|(_, calls)| {
                so_far += **calls;
                so_far >= rank.max(1)
            })
            .map(|(ms, _)| *ms)
    }
}

/// The length of the steps in which usage over time is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Hours.
    Hour,
    /// UTC days.
    Day,
}

impl Interval {
    /// The name that Postgres' `date_trunc` has for it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// Usage of all users in one hour or day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntervalTotals {
    /// Cost by model name.
    pub cost: BTreeMap<String, Picos>,
    /// All tokens.
    pub tokens: i64,
    /// Number of turns.
    pub requests: i64,
}

/// Usage by model in a period.
#[derive(Default)]
pub struct PeriodTotals {
    /// Usage by model name.
    pub by_model: BTreeMap<String, Totals>,
    /// Usage over time, by the start of each hour or UTC day with any usage.
    pub intervals: BTreeMap<OffsetDateTime, IntervalTotals>,
}

/// Reads the usage of a period of whole hours by model, and over time in steps of `interval`. The time to first token is read by hour if the
/// period began less than two days ago, and by UTC day otherwise.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn totals(
    db: &mut Tx,
    (from, to): (OffsetDateTime, OffsetDateTime),
    include: Include,
    interval: Interval,
) -> Result<PeriodTotals> {
    let rows = sqlx::query!(
        r#"select date_trunc($4, hour, 'UTC') as "at!", model as "model!", sum(requests)::bigint as "requests!",
                  sum(calls)::bigint as "calls!", sum(failed)::bigint as "failed!", sum(input_tokens)::bigint as "input!",
                  sum(cache_read_tokens)::bigint as "cache_read!", sum(cache_write_tokens)::bigint as "cache_write!",
                  sum(output_tokens)::bigint as "output!", sum(reasoning_tokens)::bigint as "reasoning!", sum(cost_picos)::bigint as "cost!"
           from (
             select * from usage_total where hour >= $1 and hour < $2
             union all
             select model, hour, requests, calls, failed, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens,
                    reasoning_tokens, cost_picos
             from usage_delta where $3 and hour >= $1 and hour < $2
           ) u group by 1, 2"#,
        from,
        to,
        include.unfolded(),
        interval.as_str(),
    )
    .fetch_all(&mut *db)
    .await?;
    let mut totals = PeriodTotals::default();
    for row in rows {
        let then = totals.intervals.entry(row.at).or_default();
        let cost = then.cost.entry(row.model.clone()).or_default();
        *cost = cost.plus(Picos(row.cost));
        let tokens = [row.input, row.cache_read, row.cache_write, row.output].into_iter().fold(0, i64::saturating_add);
        then.tokens = then.tokens.saturating_add(tokens);
        then.requests = then.requests.saturating_add(row.requests);
        *totals.by_model.entry(row.model).or_default() += &Totals {
            requests: row.requests,
            calls: row.calls,
            failed: row.failed,
            input: row.input,
            cache_read: row.cache_read,
            cache_write: row.cache_write,
            cache_write_long: 0,
            output: row.output,
            reasoning: row.reasoning,
            cost: row.cost,
            ttft_ms: BTreeMap::new(),
        };
    }
    add_ttft(&mut *db, (from, to), include, &mut totals.by_model).await?;
    add_long_writes(db, (from, to), include, &mut totals.by_model).await?;
    Ok(totals)
}

/// Adds the histograms of the time to first token.
async fn add_ttft(
    db: &mut Tx,
    (from, to): (OffsetDateTime, OffsetDateTime),
    include: Include,
    by_model: &mut BTreeMap<String, Totals>,
) -> Result<()> {
    let rows = sqlx::query!(
        r#"select model as "model!", ms as "ms!", sum(calls)::bigint as "calls!"
           from (
             select model, ms, calls from ttft_hour
             where $1 >= now() - interval '47 hours' and hour >= $1 and hour < $2
             union all
             select model, ms, calls from ttft_day
             where $1 < now() - interval '47 hours' and day >= ($1::timestamptz at time zone 'UTC')::date
               and day < (($2::timestamptz - interval '1 hour') at time zone 'UTC')::date + 1
             union all
             select model, two_digits(ttft_ms), 1 from usage_delta where $3 and ttft_ms is not null and hour >= $1 and hour < $2
           ) t group by 1, 2"#,
        from,
        to,
        include.unfolded(),
    )
    .fetch_all(db)
    .await?;
    for row in rows {
        if let Some(totals) = by_model.get_mut(&row.model) {
            totals.ttft_ms.insert(row.ms, row.calls);
        }
    }
    Ok(())
}

/// Adds the cache writes with the longer lifetime.
async fn add_long_writes(
    db: &mut Tx,
    (from, to): (OffsetDateTime, OffsetDateTime),
    include: Include,
    by_model: &mut BTreeMap<String, Totals>,
) -> Result<()> {
    let rows = sqlx::query!(
        r#"select model as "model!", sum(tokens)::bigint as "tokens!"
           from (
             select model, tokens from cache_write_long where hour >= $1 and hour < $2
             union all
             select model, tokens from cache_write_long_delta where $3 and hour >= $1 and hour < $2
           ) t group by 1"#,
        from,
        to,
        include.unfolded(),
    )
    .fetch_all(db)
    .await?;
    for row in rows {
        if let Some(totals) = by_model.get_mut(&row.model) {
            totals.cache_write_long = row.tokens;
        }
    }
    Ok(())
}

/// Reads the cost of all users in a period of whole hours, by model.
async fn cost_by_model(
    db: &mut Tx,
    from: OffsetDateTime,
    to: OffsetDateTime,
    include: Include,
) -> Result<BTreeMap<String, Picos>> {
    let rows = sqlx::query!(
        r#"select model as "model!", sum(cost_picos)::bigint as "cost!"
           from (
             select model, cost_picos from usage_total where hour >= $1 and hour < $2
             union all
             select model, cost_picos from usage_delta where $3 and hour >= $1 and hour < $2
           ) u group by 1"#,
        from,
        to,
        include.unfolded(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.model, Picos(row.cost))).collect())
}

/// Cost, tokens and turns of all users in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeriodFigures {
    /// Cost.
    pub cost: Picos,
    /// All tokens.
    pub tokens: i64,
    /// Number of turns.
    pub requests: i64,
}

/// Reads the cost, the tokens and the turns of all users in a period of whole hours.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn figures(
    db: &mut Tx,
    (from, to): (OffsetDateTime, OffsetDateTime),
    include: Include,
) -> Result<PeriodFigures> {
    let row = sqlx::query!(
        r#"select coalesce(sum(cost_picos), 0)::bigint as "cost!", coalesce(sum(tokens), 0)::bigint as "tokens!",
                  coalesce(sum(requests), 0)::bigint as "requests!"
           from (
             select cost_picos, input_tokens + cache_read_tokens + cache_write_tokens + output_tokens as tokens, requests
             from usage_total where hour >= $1 and hour < $2
             union all
             select cost_picos, input_tokens + cache_read_tokens + cache_write_tokens + output_tokens, requests
             from usage_delta where $3 and hour >= $1 and hour < $2
           ) u"#,
        from,
        to,
        include.unfolded(),
    )
    .fetch_one(&mut *db)
    .await?;
    Ok(PeriodFigures { cost: Picos(row.cost), tokens: row.tokens, requests: row.requests })
}

/// Reads the cost by model in the 24 hours before an instant, exact to the call, as spend caps count it.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn spent_in_a_day(db: &mut Tx, now: OffsetDateTime) -> Result<BTreeMap<String, Picos>> {
    let whole = first_whole_hour(now);
    let end = start_of_hour(now) + time::Duration::HOUR;
    let mut all = cost_by_model(db, whole, end, Include::Everything).await?;
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

/// Reads the cost of the whole hours in the 24 hours before an instant. It is at most what a cap counts, and cheaper to compute.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn spent_in_whole_hours(db: &mut Tx, now: OffsetDateTime) -> Result<Picos> {
    let hours = (first_whole_hour(now), start_of_hour(now) + time::Duration::HOUR);
    Ok(figures(db, hours, Include::Everything).await?.cost)
}

/// Returns the start of the first whole hour in the 24 hours before an instant.
fn first_whole_hour(now: OffsetDateTime) -> OffsetDateTime {
    start_of_hour(now - time::Duration::DAY - time::Duration::NANOSECOND) + time::Duration::HOUR
}

//! Usage by model, from spans and from hours without one.

use super::{Cover, DAY, LARGEST, cover, hour, instant};
use crate::{Result, Tx};
use domain::Picos;
use std::collections::{BTreeMap, HashMap};
use std::ops::AddAssign;
use time::{Date, OffsetDateTime};

/// What one model did, for everybody together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Turns that asked it first.
    pub requests: i64,
    /// Calls.
    pub calls: i64,
    /// Calls that its provider didn't answer, or not to the end.
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
    /// How many calls took so many milliseconds to their time to first token, to two significant digits.
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
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.cost = self.cost.saturating_add(other.cost);
        for (ms, calls) in &other.ttft_ms {
            *self.ttft_ms.entry(*ms).or_default() += calls;
        }
    }
}

impl Totals {
    /// What it cost.
    #[must_use]
    pub fn cost(&self) -> Picos {
        Picos(self.cost)
    }

    /// How long so many per cent of all calls took at most to their time to first token, to two digits: the smallest that is long enough for
    /// that many (nearest rank). None where nothing was measured.
    #[must_use]
    pub fn ttft(&self, percent: i64) -> Option<i32> {
        let all: i64 = self.ttft_ms.values().sum();
        let enough = (all * percent + 99) / 100;
        let mut so_far = 0;
        self.ttft_ms
            .iter()
            .find(|(_, calls)| {
                so_far += **calls;
                so_far >= enough.max(1)
            })
            .map(|(ms, _)| *ms)
    }
}

/// What each model did in a period.
#[derive(Default)]
pub struct PeriodTotals {
    /// By the provider's name for the model.
    pub by_model: BTreeMap<String, Totals>,
    /// What each model cost on each UTC day on which anything was used.
    pub days: BTreeMap<Date, BTreeMap<String, Picos>>,
    /// Whether calls that aren't added up yet are missing in `ttft_ms`, because there are too many to look at one by one.
    pub lacks_ttft: bool,
}

/// So many calls that aren't added up yet are looked at one by one for their time to first token.
const ONE_BY_ONE: i64 = 5_000;

/// What each model did in a period of whole hours.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn read(db: &mut Tx, from: OffsetDateTime, to: OffsetDateTime) -> Result<PeriodTotals> {
    let wide = cover(db, from, to, LARGEST).await?;
    let mut by_model = of_spans(db, &wide).await?;
    let mut rest = of_hours(db, &wide.open).await?;
    let lacks_ttft = rest.iter().map(|part| part.totals.calls).sum::<i64>() > ONE_BY_ONE;
    if !lacks_ttft {
        add_ttft(db, &wide.open, &mut rest).await?;
    }
    let mut days = cost_by_day(db, from, to).await?;
    for Part { begins_at, model, totals } in rest {
        let of_day = days.entry(begins_at.date()).or_default().entry(model.clone()).or_default();
        *of_day = of_day.plus(totals.cost());
        *by_model.entry(model).or_default() += &totals;
    }
    Ok(PeriodTotals { by_model, days, lacks_ttft })
}

/// What each model did in the spans of a cover.
async fn of_spans(db: &mut Tx, cover: &Cover) -> Result<BTreeMap<String, Totals>> {
    let rows = sqlx::query!(
        r#"select m.model, m.requests, m.calls, m.failed, m.input_tokens, m.cache_read_tokens, m.cache_write_tokens, m.output_tokens,
                  m.reasoning_tokens, m.cost_picos, m.ttft_ms, m.ttft_calls
           from unnest($1::int[], $2::timestamptz[]) w (hours, begins_at)
           join usage_span_model m on m.hours = w.hours and m.begins_at = w.begins_at"#,
        &cover.hours,
        &cover.begins,
    )
    .fetch_all(db)
    .await?;
    let mut by_model = BTreeMap::<String, Totals>::new();
    for row in rows {
        *by_model.entry(row.model).or_default() += &Totals {
            requests: row.requests,
            calls: row.calls,
            failed: row.failed,
            input: row.input_tokens,
            cache_read: row.cache_read_tokens,
            cache_write: row.cache_write_tokens,
            output: row.output_tokens,
            reasoning: row.reasoning_tokens,
            cost: row.cost_picos,
            ttft_ms: row.ttft_ms.into_iter().zip(row.ttft_calls).collect(),
        };
    }
    Ok(by_model)
}

/// What each model cost on each UTC day, in the hours that have spans.
async fn cost_by_day(
    db: &mut Tx,
    from: OffsetDateTime,
    to: OffsetDateTime,
) -> Result<BTreeMap<Date, BTreeMap<String, Picos>>> {
    let within_days = cover(db, from, to, DAY).await?;
    let rows = sqlx::query!(
        "select m.begins_at, m.model, m.cost_picos from unnest($1::int[], $2::timestamptz[]) w (hours, begins_at)
         join usage_span_model m on m.hours = w.hours and m.begins_at = w.begins_at",
        &within_days.hours,
        &within_days.begins,
    )
    .fetch_all(db)
    .await?;
    let mut days = BTreeMap::<Date, BTreeMap<String, Picos>>::new();
    for row in rows {
        let of_day = days.entry(row.begins_at.date()).or_default().entry(row.model).or_default();
        *of_day = of_day.plus(Picos(row.cost_picos));
    }
    Ok(days)
}

/// What was spent in a period of whole hours, model by model.
async fn spent(db: &mut Tx, from: OffsetDateTime, to: OffsetDateTime) -> Result<BTreeMap<String, Picos>> {
    let cover = cover(db, from, to, LARGEST).await?;
    let rows = sqlx::query!(
        r#"select m.model as "model!", m.cost_picos as "cost!" from unnest($1::int[], $2::timestamptz[]) w (hours, begins_at)
           join usage_span_model m on m.hours = w.hours and m.begins_at = w.begins_at
           union all
           select model, sum(cost_picos)::bigint from usage_hour where hour = any($3) group by model"#,
        &cover.hours,
        &cover.begins,
        &cover.open,
    )
    .fetch_all(db)
    .await?;
    let mut spent = BTreeMap::<String, Picos>::new();
    for row in rows {
        let sum = spent.entry(row.model).or_default();
        *sum = sum.plus(Picos(row.cost));
    }
    Ok(spent)
}

/// What was spent in a period of whole hours.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn cost(db: &mut Tx, from: OffsetDateTime, to: OffsetDateTime) -> Result<Picos> {
    Ok(spent(db, from, to).await?.into_values().fold(Picos::ZERO, Picos::plus))
}

/// What was spent in the 24 hours before an instant, to the call, model by model: as caps count it. Looks at single calls at the edge.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn spent_in_a_day(db: &mut Tx, now: OffsetDateTime) -> Result<BTreeMap<String, Picos>> {
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
/// Returns an error if the query fails.
pub async fn spent_in_whole_hours(db: &mut Tx, now: OffsetDateTime) -> Result<Picos> {
    cost(db, first_whole_hour(now), instant(hour(now) + 1)).await
}

/// Where the first whole hour of the 24 hours before an instant begins.
fn first_whole_hour(now: OffsetDateTime) -> OffsetDateTime {
    instant(hour(now - time::Duration::DAY - time::Duration::NANOSECOND) + 1)
}

/// What one model did in one hour.
pub(super) struct Part {
    /// When it begins.
    pub begins_at: OffsetDateTime,
    /// The provider's name for the model.
    pub model: String,
    /// What it did.
    pub totals: Totals,
}

/// What each model did in hours that have no span, from the sums per user.
pub(super) async fn of_hours(db: &mut Tx, hours: &[OffsetDateTime]) -> Result<Vec<Part>> {
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
                ttft_ms: BTreeMap::new(),
            };
            Part { begins_at: row.hour, model: row.model, totals }
        })
        .collect())
}

/// The time to first token in some hours, from the ledger's rows.
pub(super) async fn add_ttft(db: &mut Tx, hours: &[OffsetDateTime], parts: &mut [Part]) -> Result<()> {
    let rows = sqlx::query!(
        r#"select h.hour as "hour!", u.model, u.ms as "ms!", u.calls as "calls!"
           from unnest($1::timestamptz[]) h (hour)
           cross join lateral (
             select model, two_digits(ttft_ms) as ms, count(*) as calls from ai_usage
             where created_at >= h.hour and created_at < h.hour + interval '1 hour' and ttft_ms is not null and status <> 'pending'
             group by 1, 2
           ) u"#,
        hours,
    )
    .fetch_all(db)
    .await?;
    let mut of: HashMap<(OffsetDateTime, &str), &mut Totals> =
        parts.iter_mut().map(|part| ((part.begins_at, part.model.as_str()), &mut part.totals)).collect();
    for row in &rows {
        if let Some(totals) = of.get_mut(&(row.hour, row.model.as_str())) {
            totals.ttft_ms.insert(row.ms, row.calls);
        }
    }
    Ok(())
}

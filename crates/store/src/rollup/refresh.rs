//! Refreshes the report of the standard periods and folds the totals.

use crate::{Db, Result, Tx};
use domain::ReportPeriod;
use sqlx::PgExecutor;
use time::OffsetDateTime;

/// How current the report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// When it was last refreshed; `None` before the first refresh.
    pub as_of: Option<OffsetDateTime>,
    /// Final ledger rows that are not folded into the totals yet.
    pub unfolded: u64,
}

/// Reads how current the report is.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn freshness(db: impl PgExecutor<'_>) -> Result<Freshness> {
    let row = sqlx::query!(
        r#"select (select min(as_of) from usage_period) as as_of, (select count(*) from usage_delta) as "unfolded!""#
    )
    .fetch_one(db)
    .await?;
    Ok(Freshness { as_of: row.as_of, unfolded: row.unfolded.max(0).cast_unsigned() })
}

/// Adds new ledger rows to the standard periods and folds them into the totals, all from one snapshot. A period that has moved since the last
/// refresh is summed again. Returns false without doing anything if the last refresh is younger than `min_age`: with several servers, one
/// refresh a minute is enough.
///
/// # Errors
/// Returns an error if a query fails; then nothing has changed.
pub async fn refresh(db: &Db, min_age: time::Duration) -> Result<bool> {
    let mut tx = db.begin_with("begin isolation level repeatable read").await?;
    // The first statement that reads takes the snapshot: after the lock, so that it includes what another refresh has just committed.
    lock(&mut tx).await?;
    let now = sqlx::query!(r#"select clock_timestamp() as "now!", (select min(as_of) from usage_period) as as_of"#)
        .fetch_one(&mut tx)
        .await?;
    // The last refresh may be in the future, if the clock of Postgres was set back since.
    if now.as_of.is_some_and(|as_of| as_of <= now.now && now.now - as_of < min_age) {
        return Ok(false);
    }
    let mut unmoved = Vec::new();
    for period in ReportPeriod::STANDARD {
        if is_unmoved(&mut tx, period, now.now).await? {
            unmoved.push(period);
        } else {
            sum_again(&mut tx, period, now.now).await?;
        }
    }
    add_new(&mut tx, &unmoved, now.now).await?;
    fold(&mut tx).await?;
    sqlx::query!("delete from ttft_hour where hour < $1", now.now - time::Duration::days(2)).execute(&mut tx).await?;
    for period in ReportPeriod::STANDARD {
        add_refusals_and_payments(&mut tx, period, now.now).await?;
        record_period(&mut tx, period, now.now).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// Serializes refreshes, rebuilds and dropping old months, until the end of the transaction.
pub(super) async fn lock(tx: &mut Tx) -> Result<()> {
    sqlx::query!("lock table usage_period in exclusive mode").execute(tx).await?;
    Ok(())
}

/// Moves `usage_delta` into the totals and histograms, and `cache_write_long_delta` into its sums.
pub(super) async fn fold(tx: &mut Tx) -> Result<()> {
    sqlx::query!(
        "with delta as (
           delete from usage_delta returning *
         ), ttft as (
           select hour, model, two_digits(ttft_ms) as ms, count(*) as calls from delta where ttft_ms is not null group by 1, 2, 3
         ), by_hour as (
           insert into ttft_hour as t select hour, model, ms, calls from ttft
           on conflict (hour, model, ms) do update set calls = t.calls + excluded.calls
         ), by_day as (
           insert into ttft_day as t
           select (hour at time zone 'UTC')::date, model, ms, sum(calls) from ttft group by 1, 2, 3
           on conflict (day, model, ms) do update set calls = t.calls + excluded.calls
         ), saved as (
           insert into cache_saving as t
           select model, hour, sum(saved_picos) from delta group by model, hour having sum(saved_picos) <> 0
           on conflict (hour, model) do update set picos = t.picos + excluded.picos
         )
         insert into usage_total as t
         select model, hour, sum(requests), sum(calls), sum(failed), sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
                sum(output_tokens), sum(reasoning_tokens), sum(cost_picos)
         from delta group by model, hour
         on conflict (hour, model) do update set
           requests = t.requests + excluded.requests, calls = t.calls + excluded.calls, failed = t.failed + excluded.failed,
           input_tokens = t.input_tokens + excluded.input_tokens, cache_read_tokens = t.cache_read_tokens + excluded.cache_read_tokens,
           cache_write_tokens = t.cache_write_tokens + excluded.cache_write_tokens,
           output_tokens = t.output_tokens + excluded.output_tokens, reasoning_tokens = t.reasoning_tokens + excluded.reasoning_tokens,
           cost_picos = t.cost_picos + excluded.cost_picos"
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "with delta as (delete from cache_write_long_delta returning *)
         insert into cache_write_long as t (model, hour, tokens)
         select model, hour, sum(tokens) from delta group by model, hour
         on conflict (hour, model) do update set tokens = t.tokens + excluded.tokens"
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Returns whether a period begins where it did at the last refresh, so that only calls were added since.
async fn is_unmoved(tx: &mut Tx, period: ReportPeriod, as_of: OffsetDateTime) -> Result<bool> {
    let is_unmoved = sqlx::query_scalar!(
        r#"select exists (select from usage_period where period = $1 and began_at = $2)
             and not exists (select from usage_delta where subject_id is null) as "is_unmoved!""#,
        period.as_str(),
        period.bounds(as_of).0,
    );
    Ok(is_unmoved.fetch_one(tx).await?)
}

/// Sums the usage of a standard period from its hours or days. Only rows that differ are written.
async fn sum_again(tx: &mut Tx, period: ReportPeriod, as_of: OffsetDateTime) -> Result<()> {
    sqlx::query!(
        "with used as (
           select subject_id, model, requests, input_tokens, cache_read_tokens + cache_write_tokens as cached_tokens, output_tokens,
                  estimated_tokens, cost_picos
           from usage_hour where $1 = '24h' and hour >= $2
           union all
           select subject_id, model, requests, input_tokens, cache_read_tokens + cache_write_tokens, output_tokens, estimated_tokens,
                  cost_picos
           from usage_day where $1 <> '24h' and day >= ($2::timestamptz at time zone 'UTC')::date
         ), by_model as materialized (
           select model, subject_id, sum(requests)::bigint as requests, sum(input_tokens)::bigint as input_tokens,
                  sum(cached_tokens)::bigint as cached_tokens, sum(output_tokens)::bigint as output_tokens,
                  sum(estimated_tokens)::bigint as estimated_tokens, sum(cost_picos)::bigint as cost_picos
           from used group by subject_id, model
         ), sums as materialized (
           select * from by_model
           union all
           select '', subject_id, sum(requests)::bigint, sum(input_tokens)::bigint, sum(cached_tokens)::bigint, sum(output_tokens)::bigint,
                  sum(estimated_tokens)::bigint, sum(cost_picos)::bigint
           from by_model group by subject_id
         ), ended as (
           delete from usage_report o
           where period = $1 and is_active and not exists (select from sums s where s.model = o.model and s.subject_id = o.subject_id)
         )
         -- By name, so that a release that doesn't know a new column goes on working.
         insert into usage_report as o (period, model, subject_id, is_active, requests, input_tokens, cached_tokens, output_tokens,
                                        estimated_tokens, cost_picos, refusals, paid_picos)
         select $1, s.model, s.subject_id, true, s.requests, s.input_tokens, s.cached_tokens, s.output_tokens, s.estimated_tokens,
                s.cost_picos, 0, 0
         from sums s left join usage_report r on r.period = $1 and r.model = s.model and r.subject_id = s.subject_id
         where (r.is_active, r.requests, r.input_tokens, r.cached_tokens, r.output_tokens, r.estimated_tokens, r.cost_picos)
           is distinct from (true, s.requests, s.input_tokens, s.cached_tokens, s.output_tokens, s.estimated_tokens, s.cost_picos)
         on conflict (period, model, subject_id) do update set
           is_active = true, requests = excluded.requests, input_tokens = excluded.input_tokens, cached_tokens = excluded.cached_tokens,
           output_tokens = excluded.output_tokens, estimated_tokens = excluded.estimated_tokens, cost_picos = excluded.cost_picos",
        period.as_str(),
        period.bounds(as_of).0,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Adds the rows that aren't folded yet to the usage of some standard periods.
async fn add_new(tx: &mut Tx, periods: &[ReportPeriod], as_of: OffsetDateTime) -> Result<()> {
    let names: Vec<String> = periods.iter().map(|period| period.as_str().to_owned()).collect();
    let begins: Vec<OffsetDateTime> = periods.iter().map(|period| period.bounds(as_of).0).collect();
    sqlx::query!(
        "insert into usage_report as o (period, model, subject_id, is_active, requests, input_tokens, cached_tokens, output_tokens,
                                        estimated_tokens, cost_picos, refusals, paid_picos)
         select p.period, coalesce(d.model, ''), d.subject_id, true, sum(d.requests)::bigint, sum(d.input_tokens)::bigint,
                sum(d.cache_read_tokens + d.cache_write_tokens)::bigint, sum(d.output_tokens)::bigint, sum(d.estimated_tokens)::bigint,
                sum(d.cost_picos)::bigint, 0, 0
         from unnest($1::text[], $2::timestamptz[]) p (period, begins_at) join usage_delta d on d.hour >= p.begins_at
         group by grouping sets ((p.period, d.subject_id), (p.period, d.subject_id, d.model))
         on conflict (period, model, subject_id) do update set
           is_active = true, requests = o.requests + excluded.requests, input_tokens = o.input_tokens + excluded.input_tokens,
           cached_tokens = o.cached_tokens + excluded.cached_tokens, output_tokens = o.output_tokens + excluded.output_tokens,
           estimated_tokens = o.estimated_tokens + excluded.estimated_tokens, cost_picos = o.cost_picos + excluded.cost_picos",
        &names[..],
        &begins[..],
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Brings the refusals and payments of a standard period up to date. Users who were only refused get a row for all models; a subscription pays
/// for all models, so only these rows have payments. Only rows that differ are written.
async fn add_refusals_and_payments(tx: &mut Tx, period: ReportPeriod, as_of: OffsetDateTime) -> Result<()> {
    let (from, to) = period.bounds(as_of);
    sqlx::query!(
        "with refused as materialized (
           select s.subject_id, sum(r.n)::bigint as n
           from refusal_hour r join account a using (user_id) join usage_subject s on s.subject = reported_subject(a)
           where r.hour >= $2 and r.hour < $3 group by s.subject_id
         ), paid as materialized (
           select subject_id, (sum(prorated_usd(amount_minor, period, paid)) * 1000000000000)::bigint as picos
           from subscriptions_paid($2, $3) where subject_id is not null group by subject_id
         ), changed as materialized (
           select o.model, o.subject_id, o.is_active, coalesce(r.n, 0) as refusals,
                  case when o.model = '' then coalesce(p.picos, 0) else 0 end as paid_picos
           from usage_report o left join refused r using (subject_id) left join paid p using (subject_id)
           where o.period = $1
             and (o.refusals <> coalesce(r.n, 0) or o.paid_picos <> case when o.model = '' then coalesce(p.picos, 0) else 0 end)
         ), ended as (
           delete from usage_report o using changed c
           where o.period = $1 and o.model = c.model and o.subject_id = c.subject_id and not c.is_active and c.refusals = 0
         ), updated as (
           update usage_report o set refusals = c.refusals, paid_picos = c.paid_picos
           from changed c
           where o.period = $1 and o.model = c.model and o.subject_id = c.subject_id and (c.is_active or c.refusals > 0)
         )
         insert into usage_report (period, model, subject_id, is_active, requests, input_tokens, cached_tokens, output_tokens,
                                   estimated_tokens, cost_picos, refusals, paid_picos)
         select $1, '', r.subject_id, false, 0, 0, 0, 0, 0, 0, r.n, coalesce(p.picos, 0)
         from refused r left join paid p using (subject_id)
         where not exists (select from usage_report o where o.period = $1 and o.model = '' and o.subject_id = r.subject_id)",
        period.as_str(),
        from,
        to,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Records when a standard period was refreshed, where it begins, and the figures that aren't in the report's rows.
async fn record_period(tx: &mut Tx, period: ReportPeriod, as_of: OffsetDateTime) -> Result<()> {
    let (from, to) = period.bounds(as_of);
    sqlx::query!("delete from usage_report_total where period = $1", period.as_str()).execute(&mut *tx).await?;
    sqlx::query!(
        "insert into usage_report_total (period, model, as_of, rows, users, requests, input_tokens, cached_tokens, output_tokens, cost_picos)
         select period, model, $2, count(*),
                -- The demo is a row of the report, but no user.
                count(*) filter (where is_active and subject_id is distinct from (select subject_id from usage_subject where subject = 'demo')),
                sum(requests), sum(input_tokens), sum(cached_tokens), sum(output_tokens), sum(cost_picos)
         from usage_report where period = $1 group by period, model",
        period.as_str(),
        as_of,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into usage_period (period, as_of, began_at, users, rows, revenue_picos)
         select $1, $2, $3, coalesce(sum(users), 0), coalesce(sum(rows), 0),
                coalesce((select (sum(prorated_usd(amount_minor, period, paid)) * 1000000000000)::bigint
                          from (select amount_minor, period, sum(paid) as paid from subscriptions_paid($3, $4) group by 1, 2) p), 0)
         from usage_report_total where period = $1 and model = ''
         on conflict (period) do update
         set as_of = excluded.as_of, began_at = excluded.began_at, users = excluded.users, rows = excluded.rows,
             revenue_picos = excluded.revenue_picos",
        period.as_str(),
        as_of,
        from,
        to,
    )
    .execute(tx)
    .await?;
    Ok(())
}

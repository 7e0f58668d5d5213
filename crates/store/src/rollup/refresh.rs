//! Refreshes the report of the standard periods, folds the totals, and rebuilds every rollup from the ledger.

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

/// Folds new ledger rows into the totals and recomputes every standard period, all from one snapshot. Returns false without doing anything
/// if the last refresh is younger than `min_age`: with several servers, one refresh a minute is enough.
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
    if now.as_of.is_some_and(|as_of| now.now - as_of < min_age) {
        return Ok(false);
    }
    fold(&mut tx).await?;
    sqlx::query!("delete from ttft_hour where hour < $1", now.now - time::Duration::days(2)).execute(&mut tx).await?;
    for period in ReportPeriod::STANDARD {
        refresh_period(&mut tx, period, now.now).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// Serializes refreshes, rebuilds and dropping old months, until the end of the transaction.
async fn lock(tx: &mut Tx) -> Result<()> {
    sqlx::query!("lock table usage_period in exclusive mode").execute(tx).await?;
    Ok(())
}

/// Moves `usage_delta` into the totals and histograms, and `cache_write_long_delta` into its sums.
async fn fold(tx: &mut Tx) -> Result<()> {
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

/// Recomputes one standard period. Only rows that differ are written.
async fn refresh_period(tx: &mut Tx, period: ReportPeriod, as_of: OffsetDateTime) -> Result<()> {
    let (from, to) = period.bounds(as_of);
    sqlx::query!(
        "with used as (
           select subject_id, model, requests, input_tokens, cache_read_tokens + cache_write_tokens as cached_tokens, output_tokens,
                  estimated_tokens, cost_picos
           from usage_hour where $1 = '24h' and hour >= $2
           union all
           select subject_id, model, requests, input_tokens, cache_read_tokens + cache_write_tokens, output_tokens, estimated_tokens,
                  cost_picos
           from usage_day where $1 <> '24h' and day >= ($2::timestamptz at time zone 'UTC')::date
         ), sums as (
           select coalesce(model, '') as model, subject_id, true as is_active, sum(requests)::bigint as requests,
                  sum(input_tokens)::bigint as input_tokens, sum(cached_tokens)::bigint as cached_tokens,
                  sum(output_tokens)::bigint as output_tokens, sum(estimated_tokens)::bigint as estimated_tokens,
                  sum(cost_picos)::bigint as cost_picos
           from used group by grouping sets ((subject_id), (subject_id, model))
         ), refused as materialized (
           select s.subject_id, sum(r.n)::bigint as n
           from refusal_hour r join account a using (user_id) join usage_subject s on s.subject = reported_subject(a)
           where r.hour >= $2 and r.hour < $3 group by s.subject_id
         ), paid as materialized (
           select subject_id, (sum(prorated_usd(amount_minor, period, paid)) * 1000000000000)::bigint as picos
           from subscriptions_paid($2, $3) where subject_id is not null group by subject_id
         ), fresh as materialized (
           select $1 as period, u.model, u.subject_id, u.is_active, u.requests, u.input_tokens, u.cached_tokens, u.output_tokens,
                  u.estimated_tokens, u.cost_picos, coalesce(r.n, 0) as refusals, coalesce(p.picos, 0) as paid_picos
           from (
             select * from sums
             union all
             select '', subject_id, false, 0, 0, 0, 0, 0, 0 from refused r
             where not exists (select from sums where sums.subject_id = r.subject_id and sums.model = '')
           ) u left join refused r using (subject_id) left join paid p using (subject_id)
         ), deleted as (
           delete from usage_report o
           where period = $1 and not exists (select from fresh f where f.model = o.model and f.subject_id = o.subject_id)
         )
         -- By name, so that a release that doesn't know a new column goes on working.
         insert into usage_report as o (period, model, subject_id, is_active, requests, input_tokens, cached_tokens, output_tokens,
                                        estimated_tokens, cost_picos, refusals, paid_picos)
         select * from fresh
         except
         select period, model, subject_id, is_active, requests, input_tokens, cached_tokens, output_tokens, estimated_tokens, cost_picos,
                refusals, paid_picos
         from usage_report where period = $1
         on conflict (period, model, subject_id) do update set
           is_active = excluded.is_active, requests = excluded.requests, input_tokens = excluded.input_tokens,
           cached_tokens = excluded.cached_tokens, output_tokens = excluded.output_tokens, estimated_tokens = excluded.estimated_tokens,
           cost_picos = excluded.cost_picos, refusals = excluded.refusals, paid_picos = excluded.paid_picos",
        period.as_str(),
        from,
        to,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into usage_period (period, as_of, users, rows, revenue_picos)
         select $1, $2,
                -- The demo is a row of the report, but no user.
                count(*) filter (where is_active and subject_id is distinct from (select subject_id from usage_subject where subject = 'demo')),
                count(*),
                coalesce((select (sum(prorated_usd(amount_minor, period, paid)) * 1000000000000)::bigint
                          from (select amount_minor, period, sum(paid) as paid from subscriptions_paid($3, $4) group by 1, 2) p), 0)
         from usage_report where period = $1 and model = ''
         on conflict (period) do update
         set as_of = excluded.as_of, users = excluded.users, rows = excluded.rows, revenue_picos = excluded.revenue_picos",
        period.as_str(),
        as_of,
        from,
        to,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Recomputes all rollups from the kept ledger rows. Sums of dropped months stay. Blocks writes to the ledger meanwhile, so turns that end
/// wait.
///
/// # Errors
/// Returns an error if a query fails; then nothing has changed.
pub async fn rebuild(db: &Db) -> Result<()> {
    let mut tx = crate::begin(db).await?;
    lock(&mut tx).await?;
    sqlx::query!(
        "lock table ai_usage, usage_hour, usage_day, usage_key, usage_delta, cache_write_long_delta in share row exclusive mode"
    )
    .execute(&mut tx)
    .await?;
    fold(&mut tx).await?;
    let kept = crate::ledger::kept_from(&mut tx).await?.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    rebuild_sums(&mut tx, kept).await?;
    rebuild_totals(&mut tx, kept).await?;
    rebuild_savings(&mut tx, kept).await?;
    rebuild_key_sums(&mut tx).await?;
    rebuild_long_writes(&mut tx, kept).await?;
    tx.commit().await
}

/// Recomputes the sums per user.
async fn rebuild_sums(tx: &mut Tx, kept: OffsetDateTime) -> Result<()> {
    sqlx::query!("delete from usage_hour where hour >= $1", kept).execute(&mut *tx).await?;
    sqlx::query!("delete from usage_day where day >= ($1::timestamptz at time zone 'UTC')::date", kept)
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        "insert into usage_subject (subject) select distinct summed_subject(purpose, subject) from ai_usage on conflict do nothing"
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into usage_hour
         select subject_id, model, date_trunc('hour', created_at, 'UTC') as hour, count(*) filter (where corrects is null and call_no = 1),
                count(*) filter (where corrects is null), count(*) filter (where provider_failed), sum(input_tokens),
                sum(cache_read_tokens), sum(cache_write_tokens), sum(output_tokens), sum(reasoning_tokens),
                coalesce(sum(estimated_tokens) filter (where corrects is null and input_tokens + cache_read_tokens + cache_write_tokens > 0), 0),
                (sum(cost_usd) * 1000000000000)::bigint
         from ai_usage u join usage_subject s on s.subject = summed_subject(u.purpose, u.subject)
         where status <> 'pending' and created_at >= $1 group by 1, 2, 3 order by 3, 1",
        kept,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into usage_day
         select subject_id, model, (hour at time zone 'UTC')::date as day, sum(requests), sum(calls), sum(failed), sum(input_tokens),
                sum(cache_read_tokens), sum(cache_write_tokens), sum(output_tokens), sum(reasoning_tokens), sum(estimated_tokens),
                sum(cost_picos)
         from usage_hour where hour >= $1 group by 1, 2, 3 order by 3, 1",
        kept,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Recomputes the totals of all users and the histograms.
async fn rebuild_totals(tx: &mut Tx, kept: OffsetDateTime) -> Result<()> {
    sqlx::query!("delete from usage_total where hour >= $1", kept).execute(&mut *tx).await?;
    sqlx::query!("delete from ttft_hour").execute(&mut *tx).await?;
    sqlx::query!("delete from ttft_day where day >= ($1::timestamptz at time zone 'UTC')::date", kept)
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        "insert into usage_total
         select model, hour, sum(requests), sum(calls), sum(failed), sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
                sum(output_tokens), sum(reasoning_tokens), sum(cost_picos)
         from usage_hour where hour >= $1 group by model, hour",
        kept,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into ttft_hour
         select date_trunc('hour', created_at, 'UTC'), model, two_digits(ttft_ms), count(*) from ai_usage
         where status <> 'pending' and ttft_ms is not null and created_at >= greatest($1, now() - interval '2 days') group by 1, 2, 3",
        kept,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into ttft_day
         select (created_at at time zone 'UTC')::date, model, two_digits(ttft_ms), count(*) from ai_usage
         where status <> 'pending' and ttft_ms is not null and created_at >= $1 group by 1, 2, 3",
        kept,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Recomputes what prompt caching saved.
async fn rebuild_savings(tx: &mut Tx, kept: OffsetDateTime) -> Result<()> {
    sqlx::query!("delete from cache_saving where hour >= $1", kept).execute(&mut *tx).await?;
    sqlx::query!(
        "insert into cache_saving
         select u.model, date_trunc('hour', u.created_at, 'UTC'),
                sum(cache_saving_picos(p, u.cache_read_tokens, u.cache_write_tokens, u.cache_write_long_tokens))
         from ai_usage u join model_price p using (model_price_id)
         where u.status <> 'pending' and u.created_at >= $1 and (u.cache_read_tokens <> 0 or u.cache_write_tokens <> 0)
         group by 1, 2",
        kept,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Recomputes the sums by API key. They go back less far than the ledger is kept.
async fn rebuild_key_sums(tx: &mut Tx) -> Result<()> {
    sqlx::query!("delete from usage_key").execute(&mut *tx).await?;
    sqlx::query!(
        "insert into usage_key
         select api_key_id, key_slot(created_at), count(*) filter (where corrects is null and call_no = 1),
                sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens), (sum(cost_usd) * 1000000000000)::bigint
         from ai_usage
         where api_key_id is not null and status <> 'pending' and created_at >= key_slot(now() - interval '62 days')
         group by 1, 2"
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Recomputes the cache writes with the longer lifetime.
async fn rebuild_long_writes(tx: &mut Tx, kept: OffsetDateTime) -> Result<()> {
    sqlx::query!("delete from cache_write_long where hour >= $1", kept).execute(&mut *tx).await?;
    sqlx::query!(
        "insert into cache_write_long (model, hour, tokens)
         select model, date_trunc('hour', created_at, 'UTC'), sum(cache_write_long_tokens)
         from ai_usage where status <> 'pending' and cache_write_long_tokens <> 0 and created_at >= $1 group by 1, 2",
        kept,
    )
    .execute(tx)
    .await?;
    Ok(())
}

//! Rebuilds every rollup from the ledger.

use super::refresh::{fold, lock};
use crate::{Db, Result, Tx};
use time::OffsetDateTime;

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
    // What was folded here is not in the report, which is summed again by the next refresh.
    sqlx::query!("update usage_period set began_at = null").execute(&mut tx).await?;
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

//! Creates spans: hours from usage per user, larger ones from smaller ones.

use super::totals::{add_ttft, of_hours};
use super::users::{pack, unpack};
use super::{SIZES, Span, Sums, Totals, Users, hour, instant};
use crate::{Db, Result, Tx};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// How long after its end an hour is summed: most turns that began in it are over by then.
const REST: time::Duration = time::Duration::minutes(2);

/// What a span holds, model by model.
type Models = BTreeMap<String, (Totals, Users)>;

/// Makes every span that can be made and isn't there; how many. Servers that are at it at once take turns.
///
/// # Errors
/// Returns an error if the query fails. All spans are tried; the first error is returned.
pub async fn make(db: &Db, now: OffsetDateTime) -> Result<u64> {
    let (mut made, mut failed) = (0, None);
    let mut smaller = None;
    for hours in SIZES {
        for begins_at in missing(db, hours, smaller, now).await? {
            match make_one(db, Span { hours, begins: hour(begins_at) }, smaller).await {
                Ok(is_made) => made += u64::from(is_made),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        smaller = Some(hours);
    }
    failed.map_or(Ok(made), Err)
}

/// Makes one; false where another server made it meanwhile, or what it is made of was broken.
async fn make_one(db: &Db, span: Span, smaller: Option<i32>) -> Result<bool> {
    let mut tx = crate::begin(db).await?;
    // Held until the end of the transaction; a rebuild of the sums waits for it too (migration 0012).
    sqlx::query!("select pg_advisory_xact_lock(7012, 0)").fetch_one(&mut tx).await?;
    if is_made(&mut tx, span).await? {
        return Ok(false);
    }
    let models = match smaller {
        None => Some(of_users(&mut tx, span).await?),
        Some(smaller) => of_smaller(&mut tx, span, smaller).await?,
    };
    let Some(models) = models else { return Ok(false) };
    write(&mut tx, span, &models).await?;
    tx.commit().await?;
    Ok(true)
}

/// How many whole hours of the ledger aren't added up yet.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn waiting(db: &Db, now: OffsetDateTime) -> Result<usize> {
    Ok(missing(db, 1, None, now).await?.len())
}

/// Where spans of a size are missing that could be made.
async fn missing(db: &Db, hours: i32, smaller: Option<i32>, now: OffsetDateTime) -> Result<Vec<OffsetDateTime>> {
    let Some(smaller) = smaller else {
        let rows = sqlx::query_scalar!(
            r#"select h as "begins_at!" from generate_series((select min(hour) from usage_hour), $1, interval '1 hour') h
               where not exists (select from usage_span where hours = 1 and begins_at = h) order by h desc"#,
            instant(hour(now - REST) - 1),
        );
        return Ok(rows.fetch_all(db).await?);
    };
    Ok(sqlx::query_scalar!(
        r#"select part.begins_at as "begins_at!" from (
             select date_bin(make_interval(hours => $1), begins_at, 'epoch') as begins_at from usage_span where hours = $2
             group by 1 having count(*) = $1 / $2
           ) part where not exists (select from usage_span s where s.hours = $1 and s.begins_at = part.begins_at)
           order by 1 desc"#,
        hours,
        smaller,
    )
    .fetch_all(db)
    .await?)
}

/// Whether another server made it meanwhile.
async fn is_made(tx: &mut Tx, span: Span) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select exists (select from usage_span where hours = $1 and begins_at = $2) as "is_made!""#,
        span.hours,
        instant(span.begins),
    )
    .fetch_one(&mut *tx)
    .await?)
}

/// An hour, from its sums per user.
async fn of_users(tx: &mut Tx, span: Span) -> Result<Models> {
    // Waits for everybody who is adding to this hour; whoever comes later finds the span and breaks it.
    sqlx::query!("select pg_advisory_xact_lock(7011, $1)", i32::try_from(span.begins).unwrap_or(i32::MAX))
        .fetch_one(&mut *tx)
        .await?;
    let begins_at = instant(span.begins);
    let mut models = Models::new();
    let mut parts = of_hours(&mut *tx, &[begins_at]).await?;
    add_ttft(&mut *tx, &[begins_at], &mut parts).await?;
    for part in parts {
        models.insert(part.model, (part.totals, Users::default()));
    }
    let rows = sqlx::query!(
        r#"select model, subject_id, requests, input_tokens, cache_read_tokens + cache_write_tokens as "cached!", output_tokens,
                  estimated_tokens, cost_picos
           from usage_hour where hour = $1"#,
        begins_at,
    )
    .fetch_all(&mut *tx)
    .await?;
    for row in rows {
        let sums = Sums {
            requests: row.requests,
            input: row.input_tokens,
            cached: row.cached,
            output: row.output_tokens,
            estimated: row.estimated_tokens,
            cost: row.cost_picos,
        };
        models.entry(row.model).or_default().1.insert(row.subject_id, sums);
    }
    Ok(models)
}

/// A larger span, from the smaller ones it is made of; none where one of them has just been broken.
async fn of_smaller(tx: &mut Tx, span: Span, smaller: i32) -> Result<Option<Models>> {
    let (begins_at, ends_at) = (instant(span.begins), instant(span.ends()));
    // Held until the larger one stands: whoever breaks one of them then finds the larger one too.
    let parts = sqlx::query!(
        "select begins_at from usage_span where hours = $1 and begins_at >= $2 and begins_at < $3 for share skip locked",
        smaller,
        begins_at,
        ends_at,
    )
    .fetch_all(&mut *tx)
    .await?;
    if parts.len() != span.parts().len() {
        return Ok(None);
    }
    let rows = sqlx::query!(
        "select model, requests, calls, failed, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
                cost_picos, ttft_ms, ttft_calls, users
         from usage_span_model where hours = $1 and begins_at >= $2 and begins_at < $3",
        smaller,
        begins_at,
        ends_at,
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut models = Models::new();
    for row in rows {
        let (totals, users) = models.entry(row.model).or_default();
        *totals += &Totals {
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
        unpack(&row.users, users)?;
    }
    Ok(Some(models))
}

async fn write(tx: &mut Tx, span: Span, models: &Models) -> Result<()> {
    let begins_at = instant(span.begins);
    let mut all = Users::default();
    for (id, sums) in models.values().flat_map(|(_, users)| users) {
        *all.entry(*id).or_default() += sums;
    }
    sqlx::query!(
        "insert into usage_span (hours, begins_at, users) values ($1, $2, $3)",
        span.hours,
        begins_at,
        pack(&all)?,
    )
    .execute(&mut *tx)
    .await?;
    for (model, (totals, users)) in models {
        let (ttft_ms, ttft_calls): (Vec<i32>, Vec<i64>) = totals.ttft_ms.iter().unzip();
        sqlx::query!(
            "insert into usage_span_model (hours, begins_at, model, requests, calls, failed, input_tokens, cache_read_tokens,
               cache_write_tokens, output_tokens, reasoning_tokens, cost_picos, ttft_ms, ttft_calls, users)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
            span.hours,
            begins_at,
            model,
            totals.requests,
            totals.calls,
            totals.failed,
            totals.input,
            totals.cache_read,
            totals.cache_write,
            totals.output,
            totals.reasoning,
            totals.cost,
            &ttft_ms,
            &ttft_calls,
            pack(users)?,
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

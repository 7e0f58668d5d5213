//! The ledger by key: what a key's meter is rebuilt from, and what each key has used. `usage_key` has the sums of whole half hours.

use crate::Result;
use crate::usage::{PastRow, PastUsage};
use domain::{ApiKeyId, Picos, Tokens, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Lists a key's usage since an instant: one entry per turn for running turns and those since the half hour of `recent`, one per half hour
/// before. Turns whose provider was never called are left out.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn history(
    db: impl PgExecutor<'_>,
    id: ApiKeyId,
    since: OffsetDateTime,
    recent: OffsetDateTime,
) -> Result<Vec<PastUsage>> {
    let rows = sqlx::query_as!(
        PastRow,
        r#"select r.slot::text as "call!", r.slot as "at!", greatest(r.tokens, 0) as "tokens!", r.cost_picos as "cost!", false as "pending!"
           from usage_key r
           where r.api_key_id = $1 and r.slot >= key_slot($2::timestamptz) and r.slot < key_slot($3::timestamptz)
           union all
           -- Two calls of one turn share its reservation.
           select c.turn_id::text, c.created_at, greatest(sum(c.used_tokens) + coalesce(max(c.reserved_tokens), 0), 0)::bigint,
                  (sum(c.cost_usd) * 1000000000000)::bigint, bool_or(c.is_pending)
           from metered_call c
           where c.api_key_id = $1 and c.created_at >= key_slot($3::timestamptz)
           group by c.turn_id, c.created_at having not bool_and(c.is_uncalled)
           union all
           -- A pending call belongs to a running turn, of which there are few.
           select c.turn_id::text, c.created_at, c.reserved_tokens, (c.cost_usd * 1000000000000)::bigint, true
           from turn t join metered_call c on c.turn_id = t.turn_id and c.created_at = t.created_at
           where t.ended_at is null and c.api_key_id = $1 and c.is_pending
             and c.created_at >= $2::timestamptz and c.created_at < key_slot($3::timestamptz)"#,
        Uuid::from(id),
        since,
        recent,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Returns the requests, tokens and cost of each of a user's keys since an instant of the last 62 days, exact to the call. Keys without usage are
/// left out.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn usage_of_keys(
    db: impl PgExecutor<'_>,
    owner: UserId,
    since: OffsetDateTime,
) -> Result<Vec<(ApiKeyId, u64, Tokens, Picos)>> {
    let rows = sqlx::query!(
        r#"with used as (
             -- The half hours that begin at the instant or later, and the calls between the instant and the first of these.
             select r.api_key_id, r.requests, r.tokens, r.cost_picos
             from api_key k join usage_key r using (api_key_id)
             where k.user_id = $1 and r.slot >= key_slot($2::timestamptz + interval '30 minutes' - interval '1 microsecond')
             union all
             select u.api_key_id, (u.call_no = 1 and u.corrects is null)::int,
                    u.input_tokens + u.cache_read_tokens + u.cache_write_tokens + u.output_tokens, (u.cost_usd * 1000000000000)::bigint
             from api_key k join ai_usage u using (api_key_id)
             where k.user_id = $1 and u.status <> 'pending' and u.created_at >= $2::timestamptz
               and u.created_at < key_slot($2::timestamptz + interval '30 minutes' - interval '1 microsecond')
           )
           select api_key_id as "id!", sum(requests)::bigint as "requests!", sum(tokens)::bigint as "tokens!",
                  sum(cost_picos)::bigint as "cost!"
           from used group by api_key_id"#,
        Uuid::from(owner),
        since,
    )
    .fetch_all(db)
    .await?;
    let number = |n: i64| n.max(0).cast_unsigned();
    Ok(rows
        .into_iter()
        .map(|row| (row.id.into(), number(row.requests), Tokens::from_db(row.tokens), Picos(row.cost)))
        .collect())
}

/// How long the sums by key are kept: longer than any window of a key and any period of its page.
const SUMS: time::Duration = time::Duration::days(62);

/// Removes the sums by key that no window and no page reads any more.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep_sums(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<()> {
    sqlx::query!("delete from usage_key where slot < $1", now - SUMS).execute(db).await?;
    Ok(())
}

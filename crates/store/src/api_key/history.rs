//! The ledger by key: what a key's meter is rebuilt from, and usage split by chat and key.

use crate::Result;
use crate::rollup::Sums;
use domain::{ApiKeyId, Picos, Tokens, UserId};
use sqlx::PgExecutor;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

/// Usage from which a key's meter is rebuilt.
pub struct KeyPast {
    /// Key: the id of a turn, or the start of a quarter of an hour.
    pub call: String,
    /// When the turn was admitted, or the first one of the quarter of an hour.
    pub at: OffsetDateTime,
    /// Tokens used, or reserved while the turn runs.
    pub tokens: Tokens,
    /// The cost, or the maximum cost of a running turn.
    pub cost: Picos,
    /// Whether the turn is still running.
    pub pending: bool,
}

/// Lists a key's usage since an instant: one entry per turn for running turns and those since `recent`, one per quarter of an hour before.
/// Turns whose provider was never called are left out.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn history(
    db: impl PgExecutor<'_>,
    id: ApiKeyId,
    since: OffsetDateTime,
    recent: OffsetDateTime,
) -> Result<Vec<KeyPast>> {
    let rows = sqlx::query!(
        r#"select case when u.status = 'pending' or u.created_at >= $3 then u.turn_id::text
                       else to_char(date_bin('15 minutes', u.created_at, 'epoch'), 'YYYY-MM-DD HH24:MI') end as "call!",
                  min(u.created_at) as "at!", bool_or(u.status = 'pending') as "pending!",
                  greatest(sum(case when u.status = 'pending' then 0
                      else u.input_tokens + u.cache_read_tokens + u.cache_write_tokens + u.output_tokens end)
                    -- two calls of a hedged turn share its reservation
                    + coalesce(max(u.reserved_tokens) filter (where u.status = 'pending'), 0), 0)::bigint as "tokens!",
                  sum(case when u.status = 'pending'
                      then (u.estimated_tokens::numeric
                              -- A prompt that is long enough to be cached may be billed as a write to the cache.
                              * case when m.min_cacheable <= u.estimated_tokens
                                  then greatest(p.input_micros_per_million, p.cache_write_micros_per_million)
                                  else p.input_micros_per_million end
                            + (u.reserved_tokens - u.estimated_tokens)::numeric * p.output_micros_per_million)
                           / 1000000000000
                      else u.cost_usd end) as "cost!"
           from ai_usage u join model_price p using (model_price_id) left join model m on m.model = u.model
           where u.api_key_id = $1 and u.created_at >= $2
           group by 1, case when u.status = 'pending' or u.created_at >= $3 then u.created_at end
           having not bool_and(u.status = 'failed' and not u.provider_failed and u.usage_source = 'exact')"#,
        Uuid::from(id),
        since,
        recent,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| KeyPast {
            call: row.call,
            at: row.at,
            tokens: Tokens::from_db(row.tokens),
            cost: Picos::from_usd(row.cost.round_dp(12)).unwrap_or_default(),
            pending: row.pending,
        })
        .collect())
}

/// What usage was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageOf {
    /// The chat, with the titles and summaries of its conversations.
    Chat,
    /// A key with this name; `None` if the key's row was removed.
    Key {
        /// The key.
        id: ApiKeyId,
        /// Its name.
        name: Option<String>,
    },
}

/// A user's usage by what it was made with.
pub struct CallerUsage {
    /// The chat, or a key.
    pub of: UsageOf,
    /// Usage. Negative if it consists of corrections of earlier usage.
    pub sums: Sums,
}

/// Returns a user's usage by chat and key from a day on, most expensive first. Days begin at midnight in `zone`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn usage_by_caller(
    db: impl PgExecutor<'_>,
    owner: UserId,
    zone: &str,
    first: Date,
) -> Result<Vec<CallerUsage>> {
    let rows = sqlx::query!(
        r#"select u.api_key_id, k.name as "name?",
                  count(*) filter (where u.call_no = 1 and u.corrects is null) as "requests!",
                  sum(u.input_tokens)::bigint as "input!", sum(u.cache_read_tokens + u.cache_write_tokens)::bigint as "cached!",
                  sum(u.output_tokens)::bigint as "output!", sum(u.estimated_tokens)::bigint as "estimated!", sum(u.cost_usd) as "cost!"
           from ai_usage u left join api_key k on k.api_key_id = u.api_key_id and k.user_id = $1
           where u.user_id = $1 and u.status <> 'pending' and u.created_at >= $3::date::timestamp at time zone $2
           group by u.api_key_id, k.name order by sum(u.cost_usd) desc, sum(u.input_tokens + u.output_tokens) desc"#,
        Uuid::from(owner),
        zone,
        first,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| CallerUsage {
            of: match row.api_key_id {
                None => UsageOf::Chat,
                Some(id) => UsageOf::Key { id: id.into(), name: row.name },
            },
            sums: Sums {
                requests: row.requests,
                input: row.input,
                cached: row.cached,
                output: row.output,
                estimated: row.estimated,
                cost: Picos::from_usd(row.cost).unwrap_or_default().0,
            },
        })
        .collect())
}

/// Returns the requests, tokens and cost of each of a user's keys since an instant. Keys without usage are left out.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn usage_of_keys(
    db: impl PgExecutor<'_>,
    owner: UserId,
    since: OffsetDateTime,
) -> Result<Vec<(ApiKeyId, u64, Tokens, Picos)>> {
    let rows = sqlx::query!(
        r#"select u.api_key_id as "id!", count(*) filter (where u.call_no = 1 and u.corrects is null) as "requests!",
                  sum(u.input_tokens + u.cache_read_tokens + u.cache_write_tokens + u.output_tokens)::bigint as "tokens!",
                  sum(u.cost_usd) as "cost!"
           from ai_usage u join api_key k using (api_key_id)
           where k.user_id = $1 and u.status <> 'pending' and u.created_at >= $2 group by u.api_key_id"#,
        Uuid::from(owner),
        since,
    )
    .fetch_all(db)
    .await?;
    let cost = |usd| Picos::from_usd(usd).unwrap_or_default();
    Ok(rows
        .into_iter()
        .map(|row| (row.id.into(), row.requests.unsigned_abs(), Tokens::from_db(row.tokens), cost(row.cost)))
        .collect())
}

/// Lists the idle keys in rounds of bounded length, each of which continues where the last one ended.
#[derive(Debug, Default)]
pub struct IdleKeys {
    /// The last key of the last round; the nil id if the next round begins with the first key.
    after: Uuid,
}

impl IdleKeys {
    /// Returns the next keys, at most `limit`, with usage since an instant that are idle now: no call is running or was settled in the last two
    /// minutes. After a round with fewer, the next one begins with the first key again.
    ///
    /// # Errors
    /// Returns an error if the query fails. The next round then repeats this one.
    pub async fn next_round(
        &mut self,
        db: impl PgExecutor<'_>,
        since: OffsetDateTime,
        now: OffsetDateTime,
        limit: u16,
    ) -> Result<Vec<ApiKeyId>> {
        let keys = sqlx::query_scalar!(
            r#"select api_key_id as "id!" from ai_usage where api_key_id > $3 and created_at >= $1 group by api_key_id
               having bool_and(status <> 'pending') and max(coalesce(settled_at, created_at)) < $2
               order by api_key_id limit $4"#,
            since,
            now - time::Duration::minutes(2),
            self.after,
            i64::from(limit),
        )
        .fetch_all(db)
        .await?;
        let is_full = keys.len() >= usize::from(limit);
        self.after = keys.last().filter(|_| is_full).copied().unwrap_or_default();
        Ok(keys.into_iter().map(Into::into).collect())
    }
}

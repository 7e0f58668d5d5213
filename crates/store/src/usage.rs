//! Reads the ledger: for rebuilding meters and budgets, for users' usage pages, and for drift checks.

use crate::Result;
use crate::rollup::Sums;
use domain::{ApiKeyId, ConversationId, ModelName, Picos, Tokens, TurnId, UsageSum, UserId};
use sqlx::PgExecutor;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

/// A turn from which a user's meter is rebuilt.
pub struct Past {
    /// The turn.
    pub turn_id: TurnId,
    /// When it was admitted.
    pub at: OffsetDateTime,
    /// Tokens used, or reserved while the turn runs.
    pub tokens: Tokens,
    /// Whether the turn is still running.
    pub pending: bool,
}

/// Lists a subject's turns since an instant. Turns whose provider was never called because its circuit was open are left out.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn since(db: impl PgExecutor<'_>, subject: &str, since: OffsetDateTime) -> Result<Vec<Past>> {
    let rows = sqlx::query!(
        r#"select turn_id, min(created_at) as "at!", bool_or(status = 'pending') as "pending!",
                  greatest(sum(case when status = 'pending' then 0
                      else input_tokens + cache_read_tokens + cache_write_tokens + output_tokens end)
                    -- two calls of a hedged turn share its reservation
                    + coalesce(max(reserved_tokens) filter (where status = 'pending'), 0), 0)::bigint as "tokens!"
           from ai_usage where subject = $1 and created_at >= $2 group by turn_id, created_at
           having not bool_and(status = 'failed' and not provider_failed and usage_source = 'exact')"#,
        subject,
        since,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Past {
            turn_id: row.turn_id.into(),
            at: row.at,
            tokens: Tokens::from_db(row.tokens),
            pending: row.pending,
        })
        .collect())
}

/// Usage from which the meter of a budget or of an API key is rebuilt.
pub struct PastUsage {
    /// Key: what identifies a turn, or the start of the time whose calls are summed.
    pub call: String,
    /// When the turn was admitted, or an instant of the time whose calls are summed.
    pub at: OffsetDateTime,
    /// Tokens used, or reserved while the turn runs.
    pub tokens: Tokens,
    /// The cost, or the maximum cost of a running turn.
    pub cost: Picos,
    /// Whether the turn is still running.
    pub pending: bool,
}

/// A row of [`PastUsage`].
pub(crate) struct PastRow {
    pub call: String,
    pub at: OffsetDateTime,
    pub tokens: i64,
    pub cost: i64,
    pub pending: bool,
}

impl From<PastRow> for PastUsage {
    fn from(row: PastRow) -> Self {
        Self {
            call: row.call,
            at: row.at,
            tokens: Tokens::from_db(row.tokens),
            cost: Picos(row.cost),
            pending: row.pending,
        }
    }
}

/// The calls whose cost counts against a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpendScope {
    /// All calls.
    Global,
    /// The calls of one model.
    Model(ModelName),
    /// The calls of the demo on the site.
    Demo,
}

/// Lists the spending in a scope since an instant: one entry per turn for running turns and those since `recent`, one per quarter of an hour
/// before.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn spend_history(
    db: impl PgExecutor<'_>,
    scope: &SpendScope,
    since: OffsetDateTime,
    recent: OffsetDateTime,
) -> Result<Vec<PastUsage>> {
    let (model, purpose) = match scope {
        SpendScope::Global => (None, None),
        SpendScope::Model(model) => (Some(model.0.as_str()), None),
        SpendScope::Demo => (None, Some("demo")),
    };
    let rows = sqlx::query_as!(
        PastRow,
        r#"select case when c.is_pending or c.created_at >= $2 then c.subject || '/' || c.turn_id::text
                       else to_char(date_bin('15 minutes', c.created_at, 'epoch'), 'YYYY-MM-DD HH24:MI') end as "call!",
                  min(c.created_at) as "at!", bool_or(c.is_pending) as "pending!",
                  greatest(sum(c.used_tokens) + coalesce(max(c.reserved_tokens), 0), 0)::bigint as "tokens!",
                  (sum(c.cost_usd) * 1000000000000)::bigint as "cost!"
           from metered_call c
           where c.created_at >= $1 and ($3::text is null or c.model = $3) and ($4::text is null or c.purpose = $4)
           group by 1, case when c.is_pending or c.created_at >= $2 then c.created_at end"#,
        since,
        recent,
        model,
        purpose,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Records that a meter differed from the ledger.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn record_drift(
    db: impl PgExecutor<'_>,
    subject: &str,
    found: Tokens,
    ledger: Tokens,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "insert into meter_drift (subject, found_tokens, ledger_tokens, at) values ($1, $2, $3, $4) on conflict do nothing",
        subject,
        i64::try_from(found.0).unwrap_or(i64::MAX),
        i64::try_from(ledger.0).unwrap_or(i64::MAX),
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Counts the meters that were rebuilt since an instant because they differed from the ledger.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn drifts(db: impl PgExecutor<'_>, since: OffsetDateTime) -> Result<i64> {
    Ok(sqlx::query_scalar!(r#"select count(*) as "n!" from meter_drift where at >= $1"#, since).fetch_one(db).await?)
}

impl From<&Sums> for UsageSum {
    fn from(sums: &Sums) -> Self {
        Self {
            requests: sums.requests.max(0).cast_unsigned(),
            input: Tokens::from_db(sums.input),
            cached: Tokens::from_db(sums.cached),
            output: Tokens::from_db(sums.output),
            cost: Picos(sums.cost),
        }
    }
}

/// What usage was made with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// A user's usage of one model on one day, by the chat or with one key.
pub struct DayUsage {
    /// The day in the user's time zone.
    pub day: Date,
    /// The model.
    pub model: ModelName,
    /// The chat, or a key.
    pub of: UsageOf,
    /// Usage. Negative if it consists of corrections of another day's usage.
    pub sums: Sums,
}

/// Returns a user's usage by day, model, and chat or key from a day on. Days begin at midnight in `zone`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn by_day(db: impl PgExecutor<'_>, owner: UserId, zone: &str, first: Date) -> Result<Vec<DayUsage>> {
    let rows = sqlx::query!(
        r#"select (u.created_at at time zone $2)::date as "day!", u.model, u.api_key_id, k.name as "name?",
                  count(*) filter (where u.call_no = 1 and u.corrects is null) as "requests!", sum(u.input_tokens)::bigint as "input!",
                  sum(u.cache_read_tokens + u.cache_write_tokens)::bigint as "cached!", sum(u.output_tokens)::bigint as "output!",
                  sum(u.estimated_tokens)::bigint as "estimated!", sum(u.cost_usd) as "cost!"
           from ai_usage u left join api_key k on k.api_key_id = u.api_key_id and k.user_id = $1
           where u.user_id = $1 and u.status <> 'pending' and u.created_at >= $3::date::timestamp at time zone $2
           group by 1, 2, 3, 4 order by 1, 2"#,
        Uuid::from(owner),
        zone,
        first,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| DayUsage {
            day: row.day,
            model: ModelName(row.model),
            of: row.api_key_id.map_or(UsageOf::Chat, |id| UsageOf::Key { id: id.into(), name: row.name }),
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

/// A turn in a user's list of recent turns.
pub struct LastTurn {
    /// When the turn started, in the user's time zone, such as `14:05, 3 Mar`.
    pub at: String,
    /// The turn's conversation with its title; `None` if it was deleted.
    pub conversation: Option<(ConversationId, String)>,
    /// Name of the model that answered.
    pub model: String,
    /// The final status, or `pending` while the turn is running.
    pub status: String,
    /// Total number of tokens.
    pub tokens: Tokens,
    /// Cost.
    pub cost: Picos,
}

/// Returns a user's last turns, newest first, without the text of their messages but with the titles of their conversations.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn last_turns(db: impl PgExecutor<'_>, owner: UserId, zone: &str, limit: i64) -> Result<Vec<LastTurn>> {
    let rows = sqlx::query!(
        r#"select to_char(min(u.created_at) at time zone $2, 'FMHH24:MI, FMDD Mon') as "at!",
                  c.conversation_id as "conversation_id?", c.title as "title?",
                  (array_agg(u.model order by u.call_no desc))[1] as "model!", (array_agg(u.status order by u.call_no desc))[1] as "status!",
                  sum(u.input_tokens + u.cache_read_tokens + u.cache_write_tokens + u.output_tokens)::bigint as "tokens!",
                  sum(u.cost_usd) as "cost!"
           from (select * from ai_usage where user_id = $1 order by created_at desc limit $3::bigint * 4) u
           left join turn t on t.turn_id = u.turn_id
           left join conversation c on c.conversation_id = t.conversation_id and c.user_id = $1 and c.deleted_at is null
           group by u.turn_id, c.conversation_id, c.title order by min(u.created_at) desc limit $3::bigint"#,
        Uuid::from(owner),
        zone,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| LastTurn {
            at: row.at,
            conversation: row.conversation_id.map(ConversationId::from).zip(row.title),
            model: row.model,
            status: row.status,
            tokens: Tokens::from_db(row.tokens),
            cost: Picos::from_usd(row.cost).unwrap_or_default(),
        })
        .collect())
}

/// Returns when the tokens used in the last 24 hours become available again: local time with its day ("0:30, 28 Nov") and tokens per half
/// hour, soonest first.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn refill_schedule(
    db: impl PgExecutor<'_>,
    subject: &str,
    zone: &str,
    now: OffsetDateTime,
) -> Result<Vec<(String, Tokens)>> {
    let rows = sqlx::query!(
        r#"select to_char((slot + interval '24 hours 30 minutes') at time zone $2, 'FMHH24:MI, FMDD Mon') as "at!",
                  coalesce(sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens), 0)::bigint as "tokens!"
           from generate_series(date_bin('30 minutes', $3::timestamptz - interval '24 hours', 'epoch'), $3, interval '30 minutes') slot
           left join ai_usage u on u.subject = $1 and u.status <> 'pending' and u.created_at >= slot and u.created_at < slot + interval '30 minutes'
           group by slot order by slot"#,
        subject,
        zone,
        now,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.at, Tokens::from_db(row.tokens))).collect())
}

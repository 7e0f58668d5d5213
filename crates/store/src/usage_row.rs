//! Ledger rows for exports, read page by page in key order, so that an export neither holds a connection for long nor more than one page in
//! memory.

use crate::Result;
use domain::{ModelName, PlanId, UserId};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// A ledger row: one provider call.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// When the call was admitted.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Row id.
    pub ai_usage_id: Uuid,
    /// Turn id.
    pub turn_id: Uuid,
    /// Number of the call within the turn; 0 is a hedge call whose response wasn't used.
    pub call_no: i32,
    /// Purpose: `chat`, `title`, `summary`, `tool` or `api`.
    pub purpose: String,
    /// The API key that the call was made with; `None` for the chat.
    pub api_key_id: Option<Uuid>,
    /// The key's name in a user's own export; `None` for the chat, for a key whose row was removed, and in exports of all users.
    pub api_key: Option<String>,
    /// The user's email; `None` once the account is deleted, and in a user's own export.
    pub email: Option<String>,
    /// The user's subject: a keyed hash of the email at sign-up.
    pub subject: String,
    /// The model that was called.
    pub model: String,
    /// `pending`, or how the call ended.
    pub status: String,
    /// `exact` or `estimated`; `None` while pending.
    pub usage_source: Option<String>,
    /// Input tokens, without those read from or written to a cache.
    pub input_tokens: i64,
    /// Input tokens read from a cache.
    pub cache_read_tokens: i64,
    /// Input tokens written to a cache, all lifetimes.
    pub cache_write_tokens: i64,
    /// The part of `cache_write_tokens` with the longer lifetime.
    pub cache_write_long_tokens: i64,
    /// Output tokens, including reasoning.
    pub output_tokens: i64,
    /// Reasoning tokens (included in output).
    pub reasoning_tokens: i64,
    /// Input tokens as estimated before the call.
    pub estimated_tokens: i64,
    /// Cost in US dollars, exact.
    pub cost_usd: Decimal,
    /// The row that this row corrects; its numbers are differences.
    pub corrects: Option<Uuid>,
}

/// Selects the rows to export.
pub struct UsageFilter<'a> {
    /// Start of the period, inclusive.
    pub from: OffsetDateTime,
    /// End of the period, exclusive.
    pub to: OffsetDateTime,
    /// Only users who are on this plan now.
    pub plan: Option<&'a PlanId>,
    /// Only calls of this model.
    pub model: Option<&'a ModelName>,
    /// Only users whose email contains this text.
    pub search: Option<&'a str>,
    /// Only rows after this key: the last row of the previous page.
    pub after: Option<(OffsetDateTime, Uuid)>,
}

/// Loads the next page of all users' rows, at most `limit`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn next(db: impl PgExecutor<'_>, filter: &UsageFilter<'_>, limit: i64) -> Result<Vec<Row>> {
    let (from, id) = filter.after.map_or((filter.from, Uuid::nil()), |(at, id)| (at, id));
    Ok(sqlx::query_as!(
        Row,
        r#"select u.created_at, u.ai_usage_id, u.turn_id, u.call_no, u.purpose, u.api_key_id, null::text as "api_key?", a.email as "email?", u.subject, u.model, u.status,
                  u.usage_source, u.input_tokens, u.cache_read_tokens, u.cache_write_tokens, u.cache_write_long_tokens, u.output_tokens,
                  u.reasoning_tokens, u.estimated_tokens, u.cost_usd, u.corrects
           from ai_usage u left join account a using (user_id)
           where u.created_at >= $1 and u.created_at < $2 and (u.created_at, u.ai_usage_id) > ($1, $3)
             and ($4::text is null or u.model = $4) and ($5::text is null or a.plan_id = $5) and ($6::text is null or a.email ilike $6)
           order by u.created_at, u.ai_usage_id limit $7"#,
        from,
        filter.to,
        id,
        filter.model.map(|model| model.0.as_str()),
        filter.plan.map(|plan| plan.0.as_str()),
        filter.search.map(crate::top_users::contains),
        limit,
    )
    .fetch_all(db)
    .await?)
}

/// Loads the next page of one user's rows, at most `limit`; of the filter only `from`, `to` and `after` apply. Uses the index by user, so
/// that other users' rows aren't scanned however long the period is.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn next_own(
    db: impl PgExecutor<'_>,
    owner: UserId,
    filter: &UsageFilter<'_>,
    limit: i64,
) -> Result<Vec<Row>> {
    let (from, id) = filter.after.map_or((filter.from, Uuid::nil()), |(at, id)| (at, id));
    Ok(sqlx::query_as!(
        Row,
        r#"select u.created_at, u.ai_usage_id, u.turn_id, u.call_no, u.purpose, u.api_key_id, k.name as "api_key?", null::text as "email?", u.subject, u.model, u.status,
                  u.usage_source, u.input_tokens, u.cache_read_tokens, u.cache_write_tokens, u.cache_write_long_tokens, u.output_tokens,
                  u.reasoning_tokens, u.estimated_tokens, u.cost_usd, u.corrects
           from ai_usage u left join api_key k on k.api_key_id = u.api_key_id and k.user_id = $4
           where u.user_id = $4 and u.created_at >= $1 and u.created_at < $2 and (u.created_at, u.ai_usage_id) > ($1, $3)
           order by u.created_at, u.ai_usage_id limit $5"#,
        from,
        filter.to,
        id,
        Uuid::from(owner),
        limit,
    )
    .fetch_all(db)
    .await?)
}

//! The ledger row by row, as it is exported: in the order of its key, a piece at a time, so that no export holds a connection for long or
//! more memory than a piece.

use crate::Result;
use domain::{ModelName, PlanId, UserId};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// One call as the ledger has it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// When it was admitted.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Its key.
    pub ai_usage_id: Uuid,
    /// The turn.
    pub turn_id: Uuid,
    /// Which call of the turn.
    pub call_no: i32,
    /// What for.
    pub purpose: String,
    /// Who; none once the account is gone.
    pub email: Option<String>,
    /// Names them in the ledger.
    pub subject: String,
    /// The model.
    pub model: String,
    /// How it ended, or that it runs.
    pub status: String,
    /// Whether the provider told what it used.
    pub usage_source: Option<String>,
    /// Input that came from no cache.
    pub input_tokens: i64,
    /// Input read from a cache.
    pub cache_read_tokens: i64,
    /// Input written to a cache.
    pub cache_write_tokens: i64,
    /// All output.
    pub output_tokens: i64,
    /// The part of it that was reasoning.
    pub reasoning_tokens: i64,
    /// The input as it was estimated beforehand.
    pub estimated_tokens: i64,
    /// Exact dollars.
    pub cost_usd: Decimal,
    /// The row it corrects, by differences.
    pub corrects: Option<Uuid>,
}

/// Which rows.
pub struct UsageFilter<'a> {
    /// From then on.
    pub from: OffsetDateTime,
    /// Until then, not included.
    pub to: OffsetDateTime,
    /// Only of users on this plan now.
    pub plan: Option<&'a PlanId>,
    /// Only calls of this model.
    pub model: Option<&'a ModelName>,
    /// Only of addresses that hold this.
    pub search: Option<&'a str>,
    /// After this row.
    pub after: Option<(OffsetDateTime, Uuid)>,
}

/// The next rows, `limit` at most.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn next(db: impl PgExecutor<'_>, asked: &UsageFilter<'_>, limit: i64) -> Result<Vec<Row>> {
    let (from, id) = asked.after.map_or((asked.from, Uuid::nil()), |(at, id)| (at, id));
    Ok(sqlx::query_as!(
        Row,
        r#"select u.created_at, u.ai_usage_id, u.turn_id, u.call_no, u.purpose, a.email as "email?", u.subject, u.model, u.status,
                  u.usage_source, u.input_tokens, u.cache_read_tokens, u.cache_write_tokens, u.output_tokens, u.reasoning_tokens,
                  u.estimated_tokens, u.cost_usd, u.corrects
           from ai_usage u left join account a using (user_id)
           where u.created_at >= $1 and u.created_at < $2 and (u.created_at, u.ai_usage_id) > ($1, $3)
             and ($4::text is null or u.model = $4) and ($5::text is null or a.plan_id = $5) and ($6::text is null or a.email ilike $6)
           order by u.created_at, u.ai_usage_id limit $7"#,
        from,
        asked.to,
        id,
        asked.model.map(|model| model.0.as_str()),
        asked.plan.map(|plan| plan.0.as_str()),
        asked.search.map(crate::top_users::contains),
        limit,
    )
    .fetch_all(db)
    .await?)
}

/// The next rows of one user's own, `limit` at most, by their index: however long the period, nobody else's rows are looked at.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn next_own(db: impl PgExecutor<'_>, owner: UserId, asked: &UsageFilter<'_>, limit: i64) -> Result<Vec<Row>> {
    let (from, id) = asked.after.map_or((asked.from, Uuid::nil()), |(at, id)| (at, id));
    Ok(sqlx::query_as!(
        Row,
        r#"select u.created_at, u.ai_usage_id, u.turn_id, u.call_no, u.purpose, null::text as "email?", u.subject, u.model, u.status,
                  u.usage_source, u.input_tokens, u.cache_read_tokens, u.cache_write_tokens, u.output_tokens, u.reasoning_tokens,
                  u.estimated_tokens, u.cost_usd, u.corrects
           from ai_usage u
           where u.user_id = $4 and u.created_at >= $1 and u.created_at < $2 and (u.created_at, u.ai_usage_id) > ($1, $3)
           order by u.created_at, u.ai_usage_id limit $5"#,
        from,
        asked.to,
        id,
        Uuid::from(owner),
        limit,
    )
    .fetch_all(db)
    .await?)
}

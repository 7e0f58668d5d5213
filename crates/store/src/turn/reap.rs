//! Turns whose server has crashed or was killed, and ended turns whose meters aren't settled.

use super::PendingCall;
use crate::Result;
use domain::{ApiKeyId, CacheMarks, ConversationId, ModelName, ModelPriceId, Picos, Tokens, TurnId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Marks turns as settled: the meters have counted their usage.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn mark_settled(db: impl PgExecutor<'_>, ids: &[TurnId]) -> Result<()> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
    sqlx::query!("update turn set meter_settled_at = now() where turn_id = any($1)", &ids).execute(db).await?;
    Ok(())
}

/// A turn that has ended but whose hold may not have been settled.
pub struct Unsettled {
    /// Turn id.
    pub turn_id: TurnId,
    /// The user's subject, which names the meters.
    pub subject: String,
    /// Whether it was a demo on the site, which has a budget of its own.
    pub is_demo: bool,
    /// The API key that it was made with, which has a meter of its own; `None` for the chat.
    pub api_key_id: Option<ApiKeyId>,
    /// When the turn was admitted.
    pub at: OffsetDateTime,
    /// Tokens used by all of its calls.
    pub used: Tokens,
    /// Model and cost of each call; the call that responded is the last.
    pub costs: Vec<(ModelName, Picos)>,
}

/// Loads ended turns whose meters aren't settled: only `turn_id` if given, else up to 100 that ended more than 15 seconds ago, by Postgres'
/// clock.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_unsettled(db: impl PgExecutor<'_>, turn_id: Option<TurnId>) -> Result<Vec<Unsettled>> {
    let rows = sqlx::query!(
        r#"select t.turn_id, t.subject, t.created_at,
                  exists (select from ai_usage u where u.turn_id = t.turn_id and u.created_at = t.created_at and u.purpose = 'demo') as "is_demo!",
                  (select u.api_key_id from ai_usage u where u.turn_id = t.turn_id and u.created_at = t.created_at and u.api_key_id is not null
                   limit 1) as api_key_id,
                  array(select model from ai_usage u where u.turn_id = t.turn_id and u.created_at = t.created_at
                        order by call_no, ai_usage_id) as "models!",
                  array(select cost_usd from ai_usage u where u.turn_id = t.turn_id and u.created_at = t.created_at
                        order by call_no, ai_usage_id) as "costs!: Vec<rust_decimal::Decimal>",
                  (select coalesce(sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens), 0)::bigint
                   from ai_usage u where u.turn_id = t.turn_id and u.created_at = t.created_at) as "used!"
           from turn t
           where t.meter_settled_at is null and t.ended_at is not null
             and (t.turn_id = $1 or ($1::uuid is null and t.ended_at < now() - interval '15 seconds'))
           order by t.ended_at limit 100"#,
        turn_id.map(Uuid::from),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Unsettled {
            turn_id: row.turn_id.into(),
            subject: row.subject,
            is_demo: row.is_demo,
            api_key_id: row.api_key_id.map(Into::into),
            at: row.created_at,
            used: Tokens::from_db(row.used),
            costs: row
                .models
                .into_iter()
                .map(ModelName)
                .zip(row.costs.into_iter().map(|cost| Picos::from_usd(cost).unwrap_or_default()))
                .collect(),
        })
        .collect())
}

/// A turn whose lease has expired, with what the reaper needs to end it.
pub struct ExpiredTurn {
    /// Turn id.
    pub turn_id: TurnId,
    /// The user's subject, which names the meters.
    pub subject: String,
    /// Its conversation; `None` once that is deleted.
    pub conversation_id: Option<ConversationId>,
    /// The model that was called.
    pub model: ModelName,
    /// The price at admission.
    pub price_id: ModelPriceId,
    /// Estimated input tokens.
    pub estimated: Tokens,
    /// How the prompt is to be cached.
    pub cache_marks: CacheMarks,
    /// Output tokens that were reserved for a demo on the site, a call by API, a summary or a title, whose output is in no log that another server
    /// reads; `None` for turns of the chat.
    pub unlogged_output: Option<Tokens>,
    /// The pending call.
    pub call: PendingCall,
}

/// Loads up to 100 turns whose lease has expired, by Postgres' clock: their server has crashed or was stopped. Each comes with one pending call: of a
/// hedged turn's two calls, the one that responded, or the requested model's.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_expired(db: impl PgExecutor<'_>) -> Result<Vec<ExpiredTurn>> {
    let rows = sqlx::query!(
        r#"select t.turn_id, t.subject, t.conversation_id, u.model, u.model_price_id, u.estimated_tokens, u.cache_marks, u.ai_usage_id,
                u.created_at,
                case when u.purpose <> 'chat' then greatest(u.reserved_tokens - u.estimated_tokens, 0) end as "unlogged_output?"
         from turn t join ai_usage u on u.turn_id = t.turn_id and u.created_at = t.created_at
         where t.ended_at is null and t.alive_until < now() and u.status = 'pending'
           and not exists (select from ai_usage o where o.turn_id = u.turn_id and o.created_at = u.created_at and o.status = 'pending'
                             and o.call_no > u.call_no)
         order by t.alive_until limit 100"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ExpiredTurn {
            turn_id: row.turn_id.into(),
            subject: row.subject,
            conversation_id: row.conversation_id.map(Into::into),
            model: ModelName(row.model),
            price_id: row.model_price_id.into(),
            estimated: Tokens::from_db(row.estimated_tokens),
            cache_marks: CacheMarks::from_db(row.cache_marks.as_deref()),
            unlogged_output: row.unlogged_output.map(Tokens::from_db),
            call: PendingCall { id: row.ai_usage_id.into(), created_at: row.created_at },
        })
        .collect())
}

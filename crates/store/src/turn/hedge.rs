//! The second call of a hedged turn: the fallback is called while the model stays silent. Both calls are pending until one of them
//! responds.
//!
//! A hedge call has `call_no = 0` until it responds, so the call with the highest `call_no` of a turn is the one that is shown as its model:
//! the requested model's while both wait, then the one that responded. Requests are counted by `call_no = 1`.

use super::PendingCall;
use crate::Result;
use domain::{CacheMarks, ModelName, ModelPriceId, Tokens, TurnId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// A call of the fallback in addition to a call that hasn't responded yet.
pub struct HedgeCall<'a> {
    /// The turn.
    pub turn_id: TurnId,
    /// The call that hasn't responded yet.
    pub first: PendingCall,
    /// The call to add, with the `created_at` of the first call.
    pub call: PendingCall,
    /// The fallback model.
    pub model: &'a ModelName,
    /// The fallback's price in force.
    pub price_id: ModelPriceId,
    /// Estimated input tokens for the fallback.
    pub estimated: Tokens,
    /// How the fallback's prompt is to be cached.
    pub cache_marks: CacheMarks,
}

/// Adds the pending call. It shares the turn's reservation, which has room for its input. Returns false if the turn has ended.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn add_hedge_call(db: impl PgExecutor<'_>, hedge: &HedgeCall<'_>) -> Result<bool> {
    let done = sqlx::query!(
        "insert into ai_usage (ai_usage_id, turn_id, call_no, purpose, user_id, subject, model, model_price_id, status, counted_tokens,
                               estimated_tokens, reserved_tokens, created_at, api_key_id, cache_marks)
         select $3, u.turn_id, 0, purpose, u.user_id, u.subject, $4, $5, 'pending', counted_tokens, $6, reserved_tokens, u.created_at,
                u.api_key_id, $8::text
         from ai_usage u join turn t on t.turn_id = u.turn_id
         where u.created_at = $1 and u.ai_usage_id = $2 and u.turn_id = $7 and u.status = 'pending' and t.ended_at is null
         for no key update of t",
        hedge.first.created_at,
        Uuid::from(hedge.first.id),
        Uuid::from(hedge.call.id),
        hedge.model.0,
        Uuid::from(hedge.price_id),
        hedge.estimated.to_db(),
        Uuid::from(hedge.turn_id),
        hedge.cache_marks.as_str(),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Closes one of the two calls at no cost, because its provider refused it or was never called.
///
/// # Errors
/// Returns an error if the query fails. The call is then closed when the turn ends, and charged its estimated input.
pub async fn close_unbilled(
    db: impl PgExecutor<'_>,
    call: PendingCall,
    provider_failed: bool,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update ai_usage set status = 'failed', usage_source = 'exact', settled_at = $3, provider_failed = $4
         where created_at = $1 and ai_usage_id = $2 and status = 'pending'",
        call.created_at,
        Uuid::from(call.id),
        now,
        provider_failed,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Makes a hedge call that has responded the turn's last call (`call_no = 2`), so that the turn's model is its model while the response is
/// streamed. If that fails, [`super::record`] does the same.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn promote_hedge_call(db: impl PgExecutor<'_>, hedge: PendingCall) -> Result<()> {
    sqlx::query!(
        "update ai_usage set call_no = 2 where created_at = $1 and ai_usage_id = $2 and status = 'pending'",
        hedge.created_at,
        Uuid::from(hedge.id),
    )
    .execute(db)
    .await?;
    Ok(())
}

//! The call of a visitor who tries the demo on the site. It is a turn of its own without a user, a conversation or a message: nothing is kept
//! of its text.

use super::PendingCall;
use crate::Result;
use domain::{AiUsageId, ModelName, ModelPriceId, Tokens, TurnId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// The request hash of a turn that no client can send again.
const NO_REQUEST: &[u8] = &[0; 32];

/// A demo call to write before its provider is called.
pub struct NewDemoCall<'a> {
    /// A new turn id of its own.
    pub turn_id: TurnId,
    /// Keyed hash of the visitor's address.
    pub subject: &'a str,
    /// The model to call.
    pub model: &'a ModelName,
    /// The model's price in force.
    pub price_id: ModelPriceId,
    /// Input tokens by our own count.
    pub counted: Tokens,
    /// Estimated input tokens for this model.
    pub estimated: Tokens,
    /// Tokens reserved in the meters.
    pub reserved: Tokens,
    /// When the call was admitted. Its usage counts at this time.
    pub now: OffsetDateTime,
}

/// Writes the turn, without a user and a conversation, and its pending ledger row.
///
/// # Errors
/// Returns an error if the query fails. Nothing is written then.
pub async fn write_demo_pending(db: impl PgExecutor<'_>, new: &NewDemoCall<'_>) -> Result<PendingCall> {
    let call = PendingCall { id: AiUsageId::at(new.now), created_at: new.now };
    sqlx::query!(
        "with begun as (
           insert into turn (turn_id, subject, request_hash, alive_until, created_at)
           values ($1, $2, $3, now() + interval '30 seconds', $4)
           returning turn_id
         )
         insert into ai_usage (ai_usage_id, turn_id, purpose, subject, model, model_price_id, status, counted_tokens, estimated_tokens,
                               reserved_tokens, created_at)
         select $5, turn_id, 'demo', $2, $6, $7, 'pending', $8, $9, $10, $4 from begun",
        Uuid::from(new.turn_id),
        new.subject,
        NO_REQUEST,
        new.now,
        Uuid::from(call.id),
        new.model.0,
        Uuid::from(new.price_id),
        new.counted.to_db(),
        new.estimated.to_db(),
        new.reserved.to_db(),
    )
    .execute(db)
    .await?;
    Ok(call)
}

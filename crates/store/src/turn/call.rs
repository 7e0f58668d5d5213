//! Calls outside of conversations: those of visitors who try the demo on the site, and those by API. Each is a turn of its own without a
//! conversation or a message: nothing is kept of its text.

use super::PendingCall;
use crate::Result;
use domain::{AiUsageId, ApiKeyId, CacheMarks, ModelName, ModelPriceId, Tokens, TurnId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// The request hash of a turn that no client can send again.
const NO_REQUEST: [u8; 32] = [0; 32];

/// Who makes a call.
#[derive(Clone, Copy, Debug)]
pub enum CallOwner {
    /// A visitor of the site, who tries the demo.
    Visitor,
    /// A user's program.
    Program {
        /// The user.
        user_id: UserId,
        /// The key that it called with.
        api_key_id: ApiKeyId,
        /// Hash of the request.
        request_hash: [u8; 32],
    },
}

/// A call to write before its provider is called.
pub struct NewCall<'a> {
    /// A new turn id of its own.
    pub turn_id: TurnId,
    /// Who makes it.
    pub owner: CallOwner,
    /// The subject whose meter counts it: the user's, or a keyed hash of a visitor's address.
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
    /// How its request marks its prompt to be cached.
    pub cache_marks: CacheMarks,
    /// When the call was admitted. Its usage counts at this time.
    pub now: OffsetDateTime,
}

/// Writes the turn, without a conversation, and its pending ledger row.
///
/// # Errors
/// Returns an error if the query fails. Nothing is written then.
pub async fn write_call_pending(db: impl PgExecutor<'_>, new: &NewCall<'_>) -> Result<PendingCall> {
    let call = PendingCall { id: AiUsageId::at(new.now), created_at: new.now };
    let (purpose, user_id, api_key_id, request_hash) = match new.owner {
        CallOwner::Visitor => ("demo", None, None, NO_REQUEST),
        CallOwner::Program { user_id, api_key_id, request_hash } => {
            ("api", Some(Uuid::from(user_id)), Some(Uuid::from(api_key_id)), request_hash)
        }
    };
    sqlx::query!(
        "with begun as (
           insert into turn (turn_id, user_id, subject, request_hash, alive_until, created_at)
           values ($1, $12, $2, $3, now() + interval '30 seconds', $4)
           returning turn_id
         )
         insert into ai_usage (ai_usage_id, turn_id, purpose, user_id, api_key_id, subject, model, model_price_id, status, counted_tokens,
                               estimated_tokens, reserved_tokens, created_at, cache_marks)
         select $5, turn_id, $11, $12, $13, $2, $6, $7, 'pending', $8, $9, $10, $4, $14 from begun",
        Uuid::from(new.turn_id),
        new.subject,
        &request_hash,
        new.now,
        Uuid::from(call.id),
        new.model.0,
        Uuid::from(new.price_id),
        new.counted.to_db(),
        new.estimated.to_db(),
        new.reserved.to_db(),
        purpose,
        user_id,
        api_key_id,
        new.cache_marks.as_str(),
    )
    .execute(db)
    .await?;
    Ok(call)
}

//! Calls beside the turns of a conversation: for a summary of its oldest messages, or for its title. Each is a turn of its own, with its own
//! reservation and ledger row, that no transcript shows.

use super::PendingCall;
use crate::Result;
use domain::{AiUsageId, ConversationId, ModelName, ModelPriceId, Tokens, TurnId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// The request hash of a turn that no client sent.
const NO_REQUEST: &[u8] = &[0; 32];

/// The purpose of a side call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SidePurpose {
    /// A summary of a conversation's oldest messages.
    Summary,
    /// A conversation's title.
    Title,
}

impl SidePurpose {
    /// Returns the purpose as it is stored in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Summary => "summary",
            Self::Title => "title",
        }
    }
}

/// A side call to write before its provider is called.
pub struct NewSideCall<'a> {
    /// Its purpose.
    pub purpose: SidePurpose,
    /// A new turn id of its own.
    pub turn_id: TurnId,
    /// The owner of the conversation.
    pub user_id: UserId,
    /// The user's subject, for the ledger row.
    pub subject: &'a str,
    /// The conversation that it is about.
    pub conversation_id: ConversationId,
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

/// Writes the turn, without a conversation, and its pending ledger row.
///
/// # Errors
/// Returns an error if the query fails, or the conversation no longer exists or belongs to another user. Nothing is written then.
pub async fn write_side_pending(db: impl PgExecutor<'_>, new: &NewSideCall<'_>) -> Result<PendingCall> {
    let call = PendingCall { id: AiUsageId::at(new.now), created_at: new.now };
    sqlx::query!(
        r#"with begun as (
             insert into turn (turn_id, user_id, subject, request_hash, alive_until, created_at)
             select $1, $2, $3, $4, now() + interval '30 seconds', $5 from conversation
             where conversation_id = $6 and user_id = $2 and deleted_at is null
             returning turn_id
           )
           insert into ai_usage (ai_usage_id, turn_id, purpose, user_id, subject, model, model_price_id, status, counted_tokens,
                                 estimated_tokens, reserved_tokens, created_at)
           select $7, turn_id, $13, $2, $3, $8, $9, 'pending', $10, $11, $12, $5 from begun
           returning turn_id"#,
        Uuid::from(new.turn_id),
        Uuid::from(new.user_id),
        new.subject,
        NO_REQUEST,
        new.now,
        Uuid::from(new.conversation_id),
        Uuid::from(call.id),
        new.model.0,
        Uuid::from(new.price_id),
        new.counted.to_db(),
        new.estimated.to_db(),
        new.reserved.to_db(),
        new.purpose.as_str(),
    )
    .fetch_one(db)
    .await?;
    Ok(call)
}

//! Calls that answer no message of a conversation: those of visitors who try the demo on the site, API calls, and side calls of the turns of
//! a conversation, for a summary of its oldest messages or for its title. Each is a turn of its own, with its own reservation and ledger row and
//! without a message.

use super::PendingCall;
use crate::Result;
use domain::{AiUsageId, ApiKeyId, CacheMarks, ConversationId, ModelName, ModelPriceId, Tokens, TurnId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// The request hash of a turn that no client can send again.
const NO_REQUEST: [u8; 32] = [0; 32];

/// What a side call is for.
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

/// Whose call it is.
#[derive(Clone, Copy, Debug)]
pub enum CallOwner {
    /// A visitor of the site, who tries the demo.
    Visitor,
    /// A user's API client.
    Program {
        /// The user.
        user_id: UserId,
        /// The key that it called with.
        api_key_id: ApiKeyId,
        /// Hash of the request.
        request_hash: [u8; 32],
    },
    /// A user's conversation.
    Conversation {
        /// The user.
        user_id: UserId,
        /// The conversation that the call is about.
        conversation_id: ConversationId,
        /// What the call is for.
        purpose: SidePurpose,
    },
}

/// A call to write before its provider is called.
pub struct NewCall<'a> {
    /// A new turn id of its own.
    pub turn_id: TurnId,
    /// Whose call it is.
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
/// Returns an error if the query fails, or if the conversation of a side call was deleted or belongs to another user. Nothing is written then.
pub async fn write_call_pending(db: impl PgExecutor<'_>, new: &NewCall<'_>) -> Result<PendingCall> {
    let call = PendingCall { id: AiUsageId::at(new.now), created_at: new.now };
    let (purpose, user_id, api_key_id, conversation_id, request_hash) = match new.owner {
        CallOwner::Visitor => ("demo", None, None, None, NO_REQUEST),
        CallOwner::Program { user_id, api_key_id, request_hash } => {
            ("api", Some(Uuid::from(user_id)), Some(Uuid::from(api_key_id)), None, request_hash)
        }
        CallOwner::Conversation { user_id, conversation_id, purpose } => {
            (purpose.as_str(), Some(Uuid::from(user_id)), None, Some(Uuid::from(conversation_id)), NO_REQUEST)
        }
    };
    sqlx::query!(
        "with begun as (
           insert into turn (turn_id, user_id, subject, request_hash, alive_until, created_at)
           select $1::uuid, $12::uuid, $2::text, $3::bytea, now() + interval '30 seconds', $4::timestamptz
           where $14::uuid is null
             or exists (select from conversation where conversation_id = $14 and user_id = $12 and deleted_at is null)
           returning turn_id
         )
         insert into ai_usage (ai_usage_id, turn_id, purpose, user_id, api_key_id, subject, model, model_price_id, status, counted_tokens,
                               estimated_tokens, reserved_tokens, created_at, cache_marks)
         select $5, turn_id, $11, $12, $13, $2, $6, $7, 'pending', $8, $9, $10, $4, $15 from begun
         returning turn_id",
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
        conversation_id,
        new.cache_marks.as_str(),
    )
    .fetch_one(db)
    .await?;
    Ok(call)
}

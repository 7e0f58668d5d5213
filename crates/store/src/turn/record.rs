//! Records the end of a turn.

use super::PendingCall;
use crate::Result;
use domain::{
    ConversationId, MessageId, MessageStatus, ModelName, ModelPriceId, Outcome, Picos, TurnId, Usage, UsageSource,
};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// The result of a turn that has ended.
pub struct Record<'a> {
    /// Turn id.
    pub turn_id: TurnId,
    /// The conversation of the response; `None` if it was deleted.
    pub conversation_id: Option<ConversationId>,
    /// The pending call whose ledger row becomes final.
    pub call: PendingCall,
    /// The model that responded.
    pub model: &'a ModelName,
    /// The response text, possibly incomplete.
    pub text: &'a str,
    /// How the turn ended.
    pub outcome: Outcome,
    /// Tokens used.
    pub usage: &'a Usage,
    /// Whether the provider reported the usage or we estimated it.
    pub source: UsageSource,
    /// The price tier that applied.
    pub price_id: ModelPriceId,
    /// Cost of `usage`.
    pub cost: Picos,
    /// The provider's request id.
    pub provider_request_id: Option<&'a str>,
    /// Whether the turn ended early because its provider failed.
    pub provider_failed: bool,
    /// Time to first token in milliseconds, from the provider call on; `None` if no token arrived.
    pub ttft_ms: Option<i32>,
    /// Whether the provider of a hedged turn's abandoned call had failed.
    pub other_failed: bool,
    /// When the turn ended.
    pub now: OffsetDateTime,
}

/// Makes the ledger row final, ends the turn and stores the response in one statement; the ledger's triggers add the row to its user's
/// hour. Another pending call of the same turn is closed with its estimated input. Returns false if the row was already final; the row and
/// the message are unchanged then.
///
/// # Errors
/// Returns an error if the query fails. Nothing is written then.
pub async fn record(db: impl PgExecutor<'_>, end: &Record<'_>) -> Result<bool> {
    let status = match end.outcome {
        Outcome::Finished => MessageStatus::Finished,
        Outcome::Stopped => MessageStatus::Stopped,
        Outcome::Truncated => MessageStatus::Truncated,
        Outcome::Failed | Outcome::Lost => MessageStatus::Failed,
    };
    // Each part refers to the one before it, so that locks are taken in this order. If the conversation was deleted, no message is
    // stored, but the ledger row still counts.
    let row = sqlx::query!(
        r#"with updated_conversation as (
             update conversation set updated_at = $3 where conversation_id = $1 returning conversation_id
           ), ended_turn as (
             update turn set ended_at = now()
             where turn_id = $2 and ended_at is null and (select count(*) from updated_conversation) >= 0 returning turn_id
           ), final_row as (
             update ai_usage set status = $4, usage_source = $5, input_tokens = $6, cache_read_tokens = $7, cache_write_tokens = $8,
                    output_tokens = $9, reasoning_tokens = $10, cost_usd = $11, model_price_id = $12, provider_request_id = $13,
                    settled_at = $3, ttft_ms = $20, provider_failed = $21
             where created_at = $14 and ai_usage_id = $15 and status = 'pending' and (select count(*) from ended_turn) >= 0
             returning turn_id, call_no
           ), other_call as (
             -- The canceled call of a hedged turn: its provider may bill the prompt.
             update ai_usage u set status = 'failed', usage_source = 'estimated', input_tokens = u.estimated_tokens, settled_at = $3,
                    cost_usd = u.estimated_tokens::numeric * p.input_micros_per_million / 1000000000000,
                    call_no = case when u.call_no > coalesce((select call_no from final_row), 1) then 0 else u.call_no end,
                    provider_failed = $22
             from model_price p
             where u.created_at = $14 and u.turn_id = $2 and u.ai_usage_id <> $15 and u.status = 'pending'
               and p.model_price_id = u.model_price_id and (select count(*) from final_row) >= 0
           ), response as (
             insert into message (message_id, conversation_id, turn_id, role, body, status, model, created_at)
             select $16, updated_conversation.conversation_id, $2, 'assistant', $17, $18, $19, $3 from updated_conversation, final_row
             on conflict (turn_id, role) do nothing
           )
           select exists (select from final_row) as "is_done!""#,
        end.conversation_id.map(Uuid::from),
        Uuid::from(end.turn_id),
        end.now,
        end.outcome.as_str(),
        end.source.as_str(),
        end.usage.input.to_db(),
        end.usage.cache_read.to_db(),
        end.usage.cache_write.to_db(),
        end.usage.output.to_db(),
        end.usage.reasoning.to_db(),
        end.cost.to_usd(),
        Uuid::from(end.price_id),
        end.provider_request_id,
        end.call.created_at,
        Uuid::from(end.call.id),
        // Messages are ordered by id, and the user's message has the time of admission: the response's id must be later even if the clock
        // went back.
        Uuid::from(MessageId::at(end.now.max(end.call.created_at + time::Duration::milliseconds(1)))),
        end.text,
        status.as_str(),
        end.model.0,
        end.ttft_ms,
        end.provider_failed,
        end.other_failed,
    )
    .fetch_one(db)
    .await?;
    Ok(row.is_done)
}

//! Records the end of a turn.

use super::PendingCall;
use crate::{Db, Result};
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
    /// The model's reasoning, possibly incomplete; empty if there is none.
    pub reasoning: &'a str,
    /// How complete the response is.
    pub message_status: MessageStatus,
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

/// Makes the ledger row final, ends the turn and stores the response in one statement, unless [`write_answer`] has stored it before; the
/// ledger's triggers add the row to its user's hour. Another pending call of the same turn is closed with its estimated input. Returns false
/// if the row was already final; the row and the message are unchanged then.
///
/// # Errors
/// Returns an error if the query fails. Nothing is written then.
pub async fn record(db: impl PgExecutor<'_>, end: &Record<'_>) -> Result<bool> {
    // Each part refers to the one before it, so that locks are taken in this order. If the conversation is gone no message is stored, but
    // the ledger row still counts.
    let row = sqlx::query!(
        r#"with touched as (
             update conversation set updated_at = $3 where conversation_id = $1 returning conversation_id
           ), ended as (
             update turn set ended_at = now()
             where turn_id = $2 and ended_at is null and (select count(*) from touched) >= 0 returning turn_id
           ), done as (
             update ai_usage set status = $4, usage_source = $5, input_tokens = $6, cache_read_tokens = $7, cache_write_tokens = $8,
                    output_tokens = $9, reasoning_tokens = $10, cost_usd = $11, model_price_id = $12, provider_request_id = $13,
                    settled_at = $3, ttft_ms = $20, provider_failed = $21, cache_write_long_tokens = $23
             where created_at = $14 and ai_usage_id = $15 and status = 'pending' and (select count(*) from ended) >= 0
             returning turn_id, call_no
           ), other as (
             -- The call of a hedged turn that was given up: its provider may bill the prompt.
             update ai_usage u set status = 'failed', usage_source = 'estimated', input_tokens = u.estimated_tokens, settled_at = $3,
                    cost_usd = u.estimated_tokens::numeric * p.input_micros_per_million / 1000000000000,
                    call_no = case when u.call_no > coalesce((select call_no from done), 1) then 0 else u.call_no end,
                    provider_failed = $22
             from model_price p
             where u.created_at = $14 and u.turn_id = $2 and u.ai_usage_id <> $15 and u.status = 'pending'
               and p.model_price_id = u.model_price_id and (select count(*) from done) >= 0
           ), answer as (
             insert into message (message_id, conversation_id, turn_id, role, body, reasoning, status, model, created_at)
             select $16, touched.conversation_id, $2, 'assistant', $17, $24, $18, $19, $3 from touched, done
             on conflict (turn_id, role) do nothing
           )
           select exists (select from done) as "is_done!""#,
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
        Uuid::from(answer_id(end.now, end.call.created_at)),
        end.text,
        end.message_status.as_str(),
        end.model.0,
        end.ttft_ms,
        end.provider_failed,
        end.other_failed,
        end.usage.cache_write_long.to_db(),
        end.reasoning,
    )
    .fetch_one(db)
    .await?;
    Ok(row.is_done)
}

/// Returns an id for the response of a turn. Messages are ordered by id, and the user's message has the time of admission: the response's id
/// must be later even if the clock went back.
fn answer_id(now: OffsetDateTime, admitted_at: OffsetDateTime) -> MessageId {
    MessageId::at(now.max(admitted_at + time::Duration::milliseconds(1)))
}

/// The response of a turn whose usage isn't known yet.
pub struct AnswerMessage<'a> {
    /// Turn id.
    pub turn_id: TurnId,
    /// The conversation of the response.
    pub conversation_id: ConversationId,
    /// The model that responded.
    pub model: &'a ModelName,
    /// The response text, possibly incomplete.
    pub text: &'a str,
    /// The model's reasoning, possibly incomplete; empty if there is none.
    pub reasoning: &'a str,
    /// How complete the response is.
    pub status: MessageStatus,
    /// Current time.
    pub now: OffsetDateTime,
}

/// Stores the response of a stopped turn while its usage is still being read, so that the transcript has it at once. Turn and ledger row stay
/// open; [`record`] ends them and leaves the message as it is. Does nothing if the conversation is gone.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn write_answer(db: &Db, answer: &AnswerMessage<'_>) -> Result<()> {
    let admitted_at = sqlx::query_scalar!("select created_at from turn where turn_id = $1", Uuid::from(answer.turn_id))
        .fetch_optional(db)
        .await?;
    // The same order of locks as in `record`: conversation, message.
    sqlx::query!(
        "with touched as (
           update conversation set updated_at = $8 where conversation_id = $2 returning conversation_id
         )
         insert into message (message_id, conversation_id, turn_id, role, body, reasoning, status, model, created_at)
         select $1, conversation_id, $3, 'assistant', $4, $5, $6, $7, $8 from touched
         on conflict (turn_id, role) do nothing",
        Uuid::from(answer_id(answer.now, admitted_at.unwrap_or(answer.now))),
        Uuid::from(answer.conversation_id),
        Uuid::from(answer.turn_id),
        answer.text,
        answer.reasoning,
        answer.status.as_str(),
        answer.model.0,
        answer.now,
    )
    .execute(db)
    .await?;
    Ok(())
}

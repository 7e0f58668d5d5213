//! Records the end of a turn.

use super::PendingCall;
use crate::Result;
use crate::message::StoredHtml;
use domain::{
    AiUsageId, ConversationId, MessageId, MessageStatus, ModelName, ModelPriceId, Outcome, Picos, TurnId, Usage,
    UsageSource,
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
    /// Its HTML; `None` leaves rendering to the page.
    pub html: Option<&'a StoredHtml>,
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
/// ledger's triggers add the row to its user's hour, and a trigger of `message` puts the response into the tree. Another pending call of the same turn is closed with its estimated input. Returns false
/// if the row was already final; the row and the message are unchanged then.
///
/// # Errors
/// Returns an error if the query fails. Nothing is written then.
pub async fn record(db: impl PgExecutor<'_>, end: &Record<'_>) -> Result<bool> {
    // Each part refers to the one before it, so that locks are taken in this order. If the conversation was deleted, no message is
    // stored, but the ledger row still counts.
    let row = sqlx::query!(
        r#"with input as not materialized (
             select $1::uuid as turn_id, $2::uuid as conversation_id, $3::timestamptz as at, $4::timestamptz as created_at,
                    $5::uuid as ai_usage_id, $6::uuid as model_price_id, $7::text as status, $8::text as usage_source,
                    $9::bigint as input_tokens, $10::bigint as cache_read_tokens, $11::bigint as cache_write_tokens,
                    $12::bigint as output_tokens, $13::bigint as reasoning_tokens, $14::numeric as cost_usd,
                    $15::text as provider_request_id, $16::int as ttft_ms, $17::boolean as provider_failed, $18::boolean as other_failed,
                    $19::uuid as message_id, $20::text as body, $21::text as message_status, $22::text as model,
                    $23::bigint as cache_write_long_tokens, $24::text as reasoning, $25::text as html, $26::smallint as html_version
           ), updated_conversation as (
             update conversation c set updated_at = i.at from input i
             where c.conversation_id = i.conversation_id returning c.conversation_id
           ), ended_turn as (
             update turn t set ended_at = now() from input i
             where t.turn_id = i.turn_id and t.ended_at is null and (select count(*) from updated_conversation) >= 0 returning t.turn_id
           ), final_row as (
             update ai_usage u set status = i.status, usage_source = i.usage_source, input_tokens = i.input_tokens,
                    cache_read_tokens = i.cache_read_tokens, cache_write_tokens = i.cache_write_tokens,
                    cache_write_long_tokens = i.cache_write_long_tokens, output_tokens = i.output_tokens,
                    reasoning_tokens = i.reasoning_tokens, cost_usd = i.cost_usd, model_price_id = i.model_price_id,
                    provider_request_id = i.provider_request_id, settled_at = i.at, ttft_ms = i.ttft_ms,
                    provider_failed = i.provider_failed, call_no = case u.call_no when 0 then 2 else u.call_no end
             from input i
             where u.created_at = i.created_at and u.ai_usage_id = i.ai_usage_id and u.status = 'pending'
               and (select count(*) from ended_turn) >= 0
             returning u.turn_id
           ), other_call as (
             -- The call of a hedged turn that was given up: its provider may bill the prompt, which it may have written to its cache.
             update ai_usage u set status = 'failed', usage_source = 'estimated', settled_at = i.at, provider_failed = i.other_failed,
                    input_tokens = case when u.cache_marks is null then u.estimated_tokens else 0 end,
                    cache_write_tokens = case when u.cache_marks is null then 0 else u.estimated_tokens end,
                    cost_usd = u.estimated_tokens::numeric * coalesce(case when u.cache_marks is not null then p.cache_write_micros_per_million end,
                      p.input_micros_per_million) / 1000000000000
             from input i, model_price p
             where u.created_at = i.created_at and u.turn_id = i.turn_id and u.ai_usage_id <> i.ai_usage_id and u.status = 'pending'
               and p.model_price_id = u.model_price_id and (select count(*) from final_row) >= 0
           ), response as (
             insert into message (message_id, conversation_id, turn_id, role, body, reasoning, status, model, created_at, html, html_version,
                                  parent_id)
             select i.message_id, updated_conversation.conversation_id, i.turn_id, 'assistant', i.body, i.reasoning, i.message_status, i.model, i.at,
                    i.html, i.html_version,
                    (select q.message_id from turn t join message q on q.message_id = t.question_id where t.turn_id = i.turn_id)
             from input i, updated_conversation, final_row
             on conflict (turn_id, role) do nothing
           )
           select exists (select from final_row) as "is_done!""#,
        Uuid::from(end.turn_id),
        end.conversation_id.map(Uuid::from),
        end.now,
        end.call.created_at,
        Uuid::from(end.call.id),
        Uuid::from(end.price_id),
        end.outcome.as_str(),
        end.source.as_str(),
        end.usage.input.to_db(),
        end.usage.cache_read.to_db(),
        end.usage.cache_write.to_db(),
        end.usage.output.to_db(),
        end.usage.reasoning.to_db(),
        end.cost.to_usd(),
        end.provider_request_id,
        end.ttft_ms,
        end.provider_failed,
        end.other_failed,
        Uuid::from(MessageId::at(answer_time(end.now, end.call.created_at))),
        end.text,
        end.message_status.as_str(),
        end.model.0,
        end.usage.cache_write_long.to_db(),
        end.reasoning,
        end.html.map(|html| html.html.as_str()),
        end.html.map(|html| html.version),
    )
    .fetch_one(db)
    .await?;
    Ok(row.is_done)
}

/// Adds the exact usage of a call that the reaper has ended as `lost` with an estimate. A final row never changes, so this is a new row with
/// the differences to it: a sum over the ledger is exact, at the same time and for the same model. Returns false if the row isn't `lost`, or was
/// corrected before; nothing is written then.
///
/// # Errors
/// Returns an error if the query fails. Nothing is written then.
pub async fn correct_lost(db: impl PgExecutor<'_>, end: &Record<'_>) -> Result<bool> {
    let done = sqlx::query!(
        "insert into ai_usage (ai_usage_id, turn_id, call_no, purpose, user_id, api_key_id, subject, model, model_price_id, status, usage_source,
                               input_tokens, cache_read_tokens, cache_write_tokens, cache_write_long_tokens, output_tokens, reasoning_tokens,
                               estimated_tokens, reserved_tokens, cost_usd, provider_request_id, ttft_ms, created_at, settled_at, corrects)
         select $3::uuid, u.turn_id, u.call_no, u.purpose, u.user_id, u.api_key_id, u.subject, u.model, $4::uuid, u.status, 'exact',
                $5::bigint - u.input_tokens, $6::bigint - u.cache_read_tokens, $7::bigint - u.cache_write_tokens,
                $8::bigint - u.cache_write_long_tokens, $9::bigint - u.output_tokens, $10::bigint - u.reasoning_tokens,
                0, 0, $11::numeric - u.cost_usd, $12::text, $13::int, u.created_at, $14::timestamptz, u.ai_usage_id
         from ai_usage u
         where u.created_at = $1 and u.ai_usage_id = $2 and u.status = 'lost'
           and not exists (select from ai_usage c where c.turn_id = u.turn_id and c.created_at = u.created_at and c.corrects = u.ai_usage_id)",
        end.call.created_at,
        Uuid::from(end.call.id),
        Uuid::from(AiUsageId::at(end.now)),
        Uuid::from(end.price_id),
        end.usage.input.to_db(),
        end.usage.cache_read.to_db(),
        end.usage.cache_write.to_db(),
        end.usage.cache_write_long.to_db(),
        end.usage.output.to_db(),
        end.usage.reasoning.to_db(),
        end.cost.to_usd(),
        end.provider_request_id,
        end.ttft_ms,
        end.now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns the time of a turn's response. Messages are ordered by id, which contains their time, and the user's message has the time of
/// admission: the response must be later even if the clock went back.
fn answer_time(now: OffsetDateTime, admitted_at: OffsetDateTime) -> OffsetDateTime {
    now.max(admitted_at + time::Duration::milliseconds(1))
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
    /// Its HTML; `None` leaves rendering to the page.
    pub html: Option<&'a StoredHtml>,
    /// The model's reasoning, possibly incomplete; empty if there is none.
    pub reasoning: &'a str,
    /// How complete the response is.
    pub status: MessageStatus,
    /// When the turn was admitted.
    pub admitted_at: OffsetDateTime,
    /// Current time.
    pub now: OffsetDateTime,
}

/// Stores the response of a stopped turn while its usage is still being read, so that the transcript has it at once. Turn and ledger row stay
/// open; [`record`] ends them and leaves the message as it is. Does nothing if the conversation no longer exists.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn write_answer(db: impl PgExecutor<'_>, answer: &AnswerMessage<'_>) -> Result<()> {
    let at = answer_time(answer.now, answer.admitted_at);
    // The same order of locks as in `record`: conversation, message.
    sqlx::query!(
        "with touched as (
           update conversation set updated_at = $8 where conversation_id = $2 returning conversation_id
         )
         insert into message (message_id, conversation_id, turn_id, role, body, reasoning, status, model, created_at, html, html_version,
                              parent_id)
         select $1, conversation_id, $3, 'assistant', $4, $5, $6, $7, $8, $9, $10,
                (select q.message_id from turn t join message q on q.message_id = t.question_id where t.turn_id = $3)
         from touched
         on conflict (turn_id, role) do nothing",
        Uuid::from(MessageId::at(at)),
        Uuid::from(answer.conversation_id),
        Uuid::from(answer.turn_id),
        answer.text,
        answer.reasoning,
        answer.status.as_str(),
        answer.model.0,
        at,
        answer.html.map(|html| html.html.as_str()),
        answer.html.map(|html| html.version),
    )
    .execute(db)
    .await?;
    Ok(())
}

//! Writes the rows that must be durable before a provider is called, and undoes them.

use super::withdraw::{WithdrawnTurn, remove_messages};
use crate::message::StoredHtml;
use crate::{Db, Result};
use domain::{
    AiUsageId, AttachmentId, CacheMarks, ChatSettings, ConversationId, HistoryCut, MessageId, ModelName, ModelPriceId,
    Picos, Tokens, TurnId, Usage, UsageSource, UserId,
};
use sqlx::PgExecutor;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

/// Where a turn is in the tree of its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// A new question at the end of the visible path, or the first one of a new conversation.
    End {
        /// The leaf of the visible path when the turn was prepared. If another branch is visible now, nothing is written.
        leaf_id: Option<MessageId>,
    },
    /// A new question after this message; with `None`, another first one.
    After(Option<MessageId>),
    /// Another response to a question.
    Regenerate {
        /// The question.
        question_id: MessageId,
        /// The leaf of the visible path when the turn was prepared. If it has changed, nothing is written.
        leaf_id: Option<MessageId>,
    },
}

/// A turn to write before its provider is called.
pub struct NewTurn<'a> {
    /// Turn id.
    pub turn_id: TurnId,
    /// The owner.
    pub user_id: UserId,
    /// The user's subject, for the ledger row.
    pub subject: &'a str,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Title of the conversation that this turn creates; `None` if the conversation exists.
    pub new_title: Option<&'a str>,
    /// Whether that conversation is temporary.
    pub is_temporary: bool,
    /// The settings of the conversation that this turn creates. Of an existing one, only the model and the effort are updated, and only if
    /// there is a model.
    pub settings: &'a ChatSettings,
    /// Where it is in the conversation's tree.
    pub branch: Branch,
    /// The user's message; not stored again to regenerate.
    pub text: &'a str,
    /// Its HTML; `None` leaves rendering to the page.
    pub html: Option<&'a StoredHtml>,
    /// Files to attach to the message, in order: the user's, and not sent before.
    pub attachments: &'a [AttachmentId],
    /// The question of which this one is another version. Its files are this one's too.
    pub edit_of: Option<MessageId>,
    /// Hash of the request.
    pub request_hash: &'a [u8],
    /// What was left out of the conversation that the model reads; `None` if nothing was.
    pub history_cut: Option<HistoryCut>,
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
    /// How the prompt is to be cached.
    pub cache_marks: CacheMarks,
    /// When the turn was admitted. Its usage counts at this time.
    pub now: OffsetDateTime,
}

/// A provider call whose ledger row is pending.
#[derive(Clone, Copy, Debug)]
pub struct PendingCall {
    /// Id of the ledger row.
    pub id: AiUsageId,
    /// The row's `created_at`, which selects its partition.
    pub created_at: OffsetDateTime,
}

/// The question of a turn that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The question.
    pub id: MessageId,
    /// The message before it; `None` for the first one.
    pub parent_id: Option<MessageId>,
}

/// The result of writing a new turn.
pub enum InsertOutcome {
    /// The turn was written.
    New(PendingCall, Question),
    /// A turn with this id already exists; nothing was written.
    Known,
    /// The conversation doesn't exist, for example because it was just deleted; nothing was written.
    NoConversation,
    /// The conversation isn't the one for which the turn was prepared: another branch is visible, or the new question's parent no
    /// longer exists. Nothing was written.
    Changed,
    /// One of the files doesn't exist, was sent before or belongs to another user; nothing was written.
    NoAttachment,
}

/// Writes the user's message, the turn and a pending ledger row in one statement, or nothing. The visible path then ends with the question.
///
/// # Errors
/// Returns an error if the query fails. Nothing is written then.
pub async fn write_pending(db: impl PgExecutor<'_>, turn: &NewTurn<'_>) -> Result<InsertOutcome> {
    let call = PendingCall { id: AiUsageId::at(turn.now), created_at: turn.now };
    let position = Position::of(turn);
    outcome(write(db, turn, call, position).await, call, position.question_id)
}

/// Runs the statement of [`write_pending`]. Each part refers to the one before it, so that locks are taken in the usual order: conversation,
/// turn, message, ledger. The leaf is that of the locked row.
async fn write(db: impl PgExecutor<'_>, turn: &NewTurn<'_>, call: PendingCall, at: Position) -> sqlx::Result<Inserted> {
    sqlx::query_as!(
        Inserted,
        r#"with input as not materialized (
             select $1::uuid as turn_id, $2::uuid as user_id, $3::text as subject, $4::bytea as request_hash, $5::timestamptz as at,
                    $6::uuid as conversation_id, $7::text as new_title, $8::uuid as question_id, $9::boolean as is_regeneration, $10::text as body,
                    $11::uuid as ai_usage_id, $12::text as model, $13::uuid as model_price_id, $14::bigint as counted_tokens,
                    $15::bigint as estimated_tokens, $16::bigint as reserved_tokens, $17::text as history_cut, $18::text as html,
                    $19::smallint as html_version, $20::boolean as is_at_end, $21::uuid as parent_id, $22::uuid as expected_leaf_id,
                    $23::boolean as is_temporary, $24::jsonb as settings, $25::uuid[] as attachments, $26::uuid as edit_of, $27::text as cache_marks
           ), existing_conversation as (
             select c.conversation_id, c.leaf_id from conversation c join input i using (conversation_id, user_id)
             where i.new_title is null and c.deleted_at is null for no key update of c
           ), attached as (
             select attachment_id from attachment f join input i using (user_id)
             where attachment_id = any(i.attachments) and f.message_id is null order by attachment_id for update of f
           ), place as (
             select case when i.is_at_end then e.leaf_id else i.parent_id end as parent_id, e.leaf_id as previous_leaf_id
             from input i left join existing_conversation e on true where (i.new_title is not null or e.conversation_id is not null)
               and (e.leaf_id is not distinct from i.expected_leaf_id or case when i.is_at_end then continues(e.leaf_id, i.expected_leaf_id) else not i.is_regeneration end)
           ), new_turn as (
             insert into turn (turn_id, user_id, subject, conversation_id, request_hash, alive_until, created_at, question_id, previous_leaf_id, history_cut)
             select turn_id, user_id, subject, conversation_id, request_hash, now() + interval '30 seconds', at, question_id, previous_leaf_id, history_cut
             from input, place where (select count(*) from attached) = cardinality(attachments) on conflict do nothing returning turn_id
           ), new_conversation as (
             insert into conversation (conversation_id, user_id, title, created_at, updated_at, leaf_id, is_temporary, instructions, model, effort, answer_length)
             select conversation_id, user_id, new_title, at, at, question_id, is_temporary, s.instructions, s.model, s.effort, s.answer_length
             from new_turn, input i, jsonb_to_record(settings) as s (instructions text, model text, effort text, answer_length text) where new_title is not null
           ), updated_conversation as (
             update conversation c set updated_at = i.at, leaf_id = i.question_id, model = coalesce(i.settings ->> 'model', c.model),
               effort = case when i.settings ->> 'model' is null then c.effort else i.settings ->> 'effort' end from input i
             where c.conversation_id = i.conversation_id and c.user_id = i.user_id and i.new_title is null and exists (select from new_turn)
           ), user_message as (
             insert into message (message_id, conversation_id, turn_id, role, body, status, created_at, html, html_version, parent_id, files_of)
             select i.question_id, i.conversation_id, i.turn_id, 'user', i.body, 'finished', i.at, i.html, i.html_version, place.parent_id,
               (select coalesce(o.files_of, o.message_id) from message o where o.message_id = i.edit_of and o.conversation_id = i.conversation_id)
             from input i, place, new_turn where not i.is_regeneration
           ), sent_files as (
             update attachment f set message_id = i.question_id, position = array_position(i.attachments, f.attachment_id)
             from input i, attached a where f.attachment_id = a.attachment_id and exists (select from new_turn)
           ), pending as (
             insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, counted_tokens, estimated_tokens, reserved_tokens, created_at, cache_marks)
             select i.ai_usage_id, i.turn_id, i.user_id, i.subject, i.model, i.model_price_id, 'pending', i.counted_tokens, i.estimated_tokens, i.reserved_tokens, i.at, i.cache_marks from input i, new_turn
           )
           select exists (select from new_turn) as "is_new!", not exists (select from place) as "has_changed!",
                  new_title is not null or exists (select from existing_conversation) as "has_conversation!",
                  (select count(*) from attached) < cardinality(attachments) as "has_no_file!",
                  case when is_regeneration then (select m.parent_id from message m where m.message_id = question_id) else (select parent_id from place) end as "parent_id?"
           from input"#,
        Uuid::from(turn.turn_id),
        Uuid::from(turn.user_id),
        turn.subject,
        turn.request_hash,
        turn.now,
        Uuid::from(turn.conversation_id),
        turn.new_title,
        Uuid::from(at.question_id),
        at.is_regeneration,
        turn.text,
        Uuid::from(call.id),
        turn.model.0,
        Uuid::from(turn.price_id),
        turn.counted.to_db(),
        turn.estimated.to_db(),
        turn.reserved.to_db(),
        turn.history_cut.map(HistoryCut::as_str),
        turn.html.map(|html| html.html.as_str()),
        turn.html.map(|html| html.version),
        at.is_at_end,
        at.parent_id.map(Uuid::from),
        at.expected_leaf_id.map(Uuid::from),
        turn.is_temporary,
        Json(turn.settings) as _,
        &turn.attachments.iter().map(|id| Uuid::from(*id)).collect::<Vec<_>>(),
        turn.edit_of.map(Uuid::from),
        turn.cache_marks.as_str(),
    )
    .fetch_one(db)
    .await
}

/// What a statement has written, or why it hasn't.
struct Inserted {
    is_new: bool,
    has_changed: bool,
    has_conversation: bool,
    has_no_file: bool,
    parent_id: Option<Uuid>,
}

/// The parameters that determine a turn's position in the tree.
#[derive(Clone, Copy)]
struct Position {
    question_id: MessageId,
    is_regeneration: bool,
    is_at_end: bool,
    parent_id: Option<MessageId>,
    expected_leaf_id: Option<MessageId>,
}

impl Position {
    fn of(turn: &NewTurn<'_>) -> Self {
        let new = Self {
            question_id: MessageId::at(turn.now),
            is_regeneration: false,
            is_at_end: false,
            parent_id: None,
            expected_leaf_id: None,
        };
        match turn.branch {
            Branch::End { leaf_id } => Self { is_at_end: true, expected_leaf_id: leaf_id, ..new },
            Branch::After(parent_id) => Self { parent_id, ..new },
            Branch::Regenerate { question_id, leaf_id } => {
                Self { question_id, is_regeneration: true, expected_leaf_id: leaf_id, ..new }
            }
        }
    }
}

fn outcome(row: sqlx::Result<Inserted>, call: PendingCall, question_id: MessageId) -> Result<InsertOutcome> {
    match row {
        Ok(Inserted { is_new: true, parent_id, .. }) => {
            let question = Question { id: question_id, parent_id: parent_id.map(Into::into) };
            Ok(InsertOutcome::New(call, question))
        }
        Ok(Inserted { has_conversation: false, .. }) => Ok(InsertOutcome::NoConversation),
        Ok(Inserted { has_changed: true, .. }) => Ok(InsertOutcome::Changed),
        Ok(Inserted { has_no_file: true, .. }) => Ok(InsertOutcome::NoAttachment),
        Ok(Inserted { .. }) => Ok(InsertOutcome::Known),
        // The parent was deleted by an undone turn, or the conversation deleted, while this statement ran.
        Err(error) => match error.as_database_error() {
            Some(cause) if matches!(cause.constraint(), Some("message_parent_id_fkey" | "message_files_of_fkey")) => {
                Ok(InsertOutcome::Changed)
            }
            Some(cause) if cause.is_foreign_key_violation() => Ok(InsertOutcome::NoConversation),
            _ => Err(error.into()),
        },
    }
}

/// A call of the fallback for a turn whose previous call was not accepted.
pub struct FallbackCall<'a> {
    /// Turn id.
    pub turn_id: TurnId,
    /// The call that was not accepted.
    pub failed: PendingCall,
    /// Whether that call's provider was called and failed.
    pub provider_failed: bool,
    /// The fallback model.
    pub model: &'a ModelName,
    /// The fallback's price in force.
    pub price_id: ModelPriceId,
    /// Estimated input tokens for the fallback.
    pub estimated: Tokens,
    /// How the fallback's prompt is to be cached.
    pub cache_marks: CacheMarks,
    /// Current time.
    pub now: OffsetDateTime,
}

/// Closes a call that its provider never accepted, at no cost, and adds the turn's next call. The new call has the `created_at` of the
/// first, so that it counts at the same time, and shares the turn's reservation. Returns `None` if the failed call is no longer pending.
///
/// # Errors
/// Returns an error if the query fails. The first call is still pending then.
pub async fn add_fallback_call(db: impl PgExecutor<'_>, fallback: &FallbackCall<'_>) -> Result<Option<PendingCall>> {
    let call = PendingCall { id: AiUsageId::at(fallback.now), created_at: fallback.failed.created_at };
    let done = sqlx::query!(
        "with failed as (
           update ai_usage set status = 'failed', usage_source = 'exact', settled_at = $3, provider_failed = $9
           where created_at = $1 and ai_usage_id = $2 and status = 'pending' returning *
         )
         insert into ai_usage (ai_usage_id, turn_id, call_no, purpose, user_id, subject, model, model_price_id, status, counted_tokens,
                               estimated_tokens, reserved_tokens, created_at, api_key_id, cache_marks)
         select $4, turn_id, call_no + 1, purpose, user_id, subject, $5, $6, 'pending', counted_tokens, $7, reserved_tokens, created_at, api_key_id,
                $10::text
         from failed where turn_id = $8",
        fallback.failed.created_at,
        Uuid::from(fallback.failed.id),
        fallback.now,
        Uuid::from(call.id),
        fallback.model.0,
        Uuid::from(fallback.price_id),
        fallback.estimated.to_db(),
        Uuid::from(fallback.turn_id),
        fallback.provider_failed,
        fallback.cache_marks.as_str(),
    )
    .execute(db)
    .await?;
    Ok((done.rows_affected() == 1).then_some(call))
}

/// A turn whose response never began and that is to be undone.
pub struct UndoneTurn {
    /// Turn id.
    pub turn_id: TurnId,
    /// The turn's conversation.
    pub conversation_id: ConversationId,
    /// Whether the turn created the conversation.
    pub started_conversation: bool,
    /// The turn's pending call.
    pub call: PendingCall,
    /// Whether the provider was called and failed.
    pub provider_failed: bool,
    /// Usage that the provider may bill; `None` if it didn't accept the call.
    pub usage: Option<Usage>,
    /// Cost of `usage`.
    pub cost: Picos,
    /// Current time.
    pub now: OffsetDateTime,
}

/// Undoes a turn whose response never began. Deletes its message but not the files of it, and its conversation if the turn created it; restores
/// the visible path; and makes its ledger row final as `failed`, with the cost that the provider may bill. The turn itself is only marked as
/// ended, so that its hold can still be found; [`delete_undone`] deletes it.
///
/// # Errors
/// Returns an error if the query fails. Everything stays pending then, until the reaper ends the turn.
pub async fn undo(db: &Db, undone: &UndoneTurn) -> Result<()> {
    let UndoneTurn { turn_id, conversation_id, started_conversation, call, provider_failed, usage, cost, now } =
        *undone;
    let source = if usage.is_some() { UsageSource::Estimated } else { UsageSource::Exact };
    let usage = usage.unwrap_or_default();
    let mut tx = crate::begin(db).await?;
    remove_messages(&mut tx, &WithdrawnTurn { turn_id, conversation_id, started_conversation }).await?;
    sqlx::query!("update turn set ended_at = now() where turn_id = $1", Uuid::from(turn_id)).execute(&mut tx).await?;
    sqlx::query!(
        // Closes every pending call: a fallback's row may have been written although its statement reported an error. If there are two, the
        // other one is closed with its estimated input.
        "update ai_usage u set status = 'failed', usage_source = case when is_other then 'estimated' else $5 end, settled_at = $4,
           input_tokens = case when not is_other then $6 when u.cache_marks is null then u.estimated_tokens else 0::bigint end,
           cache_write_tokens = case when not is_other then $9 when u.cache_marks is null then 0::bigint else u.estimated_tokens end,
           cache_write_long_tokens = case when not is_other then $10 when u.cache_marks = 'long' then u.estimated_tokens else 0::bigint end,
           cost_usd = case when is_other then u.estimated_tokens::numeric * price / 1000000000000 else $7 end,
           provider_failed = $8
         from (
           select ai_usage_id, count(*) over () > 1 and ai_usage_id <> $3 as is_other,
                  coalesce(case when cache_marks = 'long' then p.cache_write_long_micros_per_million end,
                           case when cache_marks is not null then p.cache_write_micros_per_million end, p.input_micros_per_million) as price
           from ai_usage join model_price p using (model_price_id)
           where created_at = $1 and turn_id = $2 and status = 'pending'
         ) pending
         where u.created_at = $1 and u.ai_usage_id = pending.ai_usage_id",
        call.created_at,
        Uuid::from(turn_id),
        Uuid::from(call.id),
        now,
        source.as_str(),
        usage.input.to_db(),
        cost.to_usd(),
        provider_failed,
        usage.cache_write.to_db(),
        usage.cache_write_long.to_db(),
    )
    .execute(&mut tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes an undone turn after its hold has been released, so that the same request can be sent again with the same id.
///
/// # Errors
/// Returns an error if the query fails. The reaper settles the turn at zero then.
pub async fn delete_undone(db: impl PgExecutor<'_>, turn_id: TurnId) -> Result<()> {
    sqlx::query!(
        "delete from turn where turn_id = $1 and ended_at is not null and meter_settled_at is null",
        Uuid::from(turn_id)
    )
    .execute(db)
    .await?;
    Ok(())
}

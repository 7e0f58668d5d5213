//! Writes what must be durable before money is spent, and undoes it.

use crate::{Db, Result};
use domain::{
    AiUsageId, ConversationId, MessageId, ModelName, ModelPriceId, Picos, Tokens, TurnId, Usage, UsageSource, UserId,
};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Everything that must be durable before money is spent.
pub struct NewTurn<'a> {
    /// The turn.
    pub turn_id: TurnId,
    /// Whose it is.
    pub user_id: UserId,
    /// Names their ledger rows.
    pub subject: &'a str,
    /// Where it belongs.
    pub conversation_id: ConversationId,
    /// The title of a conversation that this turn begins; none where it exists.
    pub new_title: Option<&'a str>,
    /// The turn whose question and answer give way to this one's.
    pub retry_of: Option<TurnId>,
    /// What the user said.
    pub text: &'a str,
    /// What was asked, hashed.
    pub request_hash: &'a [u8],
    /// Who will answer.
    pub model: &'a ModelName,
    /// The price in force.
    pub price_id: ModelPriceId,
    /// Input as we count it.
    pub counted: Tokens,
    /// Input as estimated for this model.
    pub estimated: Tokens,
    /// What the meters hold.
    pub reserved: Tokens,
    /// When it was admitted: the instant the usage counts at.
    pub now: OffsetDateTime,
}

/// A provider call that is written down and not yet paid for.
#[derive(Clone, Copy, Debug)]
pub struct PendingCall {
    /// The ledger row.
    pub id: AiUsageId,
    /// Its partition.
    pub created_at: OffsetDateTime,
}

/// Whether the turn is ours to run.
pub enum InsertOutcome {
    /// Everything is written.
    New(PendingCall),
    /// Somebody sent the same turn a moment earlier; nothing was written.
    Known,
    /// The conversation went away meanwhile; nothing was written.
    NoConversation,
    /// What should be answered again gave way to another answer meanwhile; nothing was written.
    Superseded,
}

/// Writes the user's message, the turn and a pending ledger row, or nothing.
///
/// # Errors
/// Returns an error if the query fails; then nothing is written.
pub async fn write_pending(db: impl PgExecutor<'_>, ask: &NewTurn<'_>) -> Result<InsertOutcome> {
    let call = PendingCall { id: AiUsageId::at(ask.now), created_at: ask.now };
    // Each part names the one before it, so that locks are taken in the order of all others: conversation, turn, message, ledger.
    let row = sqlx::query!(
        r#"with place as (
             select conversation_id from conversation
             where conversation_id = $4 and user_id = $2 and $7::text is null for no key update
           ), again as (
             select message_id from message
             where $14::uuid is not null and conversation_id = $4 and turn_id = $14 and role = 'user' and superseded_by is null
               and (select count(*) from place) > 0
             for update
           ), begun as (
             insert into turn (turn_id, user_id, subject, conversation_id, request_hash, alive_until, created_at, retry_of)
             select $1, $2, $3, $4, $5, now() + interval '30 seconds', $6, $14
             where ($7::text is not null or exists (select from place)) and ($14::uuid is null or exists (select from again))
             on conflict do nothing returning turn_id
           ), opened as (
             insert into conversation (conversation_id, user_id, title, created_at, updated_at)
             select $4, $2, $7, $6, $6 from begun where $7::text is not null
           ), touched as (
             update conversation set updated_at = $6
             where conversation_id = $4 and user_id = $2 and $7::text is null and exists (select from begun)
           ), replaced as (
             update message set superseded_by = $1
             where conversation_id = $4 and turn_id = $14 and superseded_by is null and exists (select from begun)
           ), said as (
             insert into message (message_id, conversation_id, turn_id, role, body, status, created_at)
             select $8, $4, $1, 'user', $9, 'finished', $6 from begun
           ), pending as (
             insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, counted_tokens,
                                   estimated_tokens, reserved_tokens, created_at)
             select $10, $1, $2, $3, $11, $12, 'pending', $15, $13, $16, $6 from begun
           )
           select exists (select from begun) as "is_new!",
                  $7::text is not null or exists (select from place) as "has_place!",
                  $14::uuid is not null and not exists (select from again) as "gave_way!""#,
        Uuid::from(ask.turn_id),
        Uuid::from(ask.user_id),
        ask.subject,
        Uuid::from(ask.conversation_id),
        ask.request_hash,
        ask.now,
        ask.new_title,
        Uuid::from(MessageId::at(ask.now)),
        ask.text,
        Uuid::from(call.id),
        ask.model.0,
        Uuid::from(ask.price_id),
        ask.estimated.to_db(),
        ask.retry_of.map(Uuid::from),
        ask.counted.to_db(),
        ask.reserved.to_db(),
    )
    .fetch_one(db)
    .await;
    match row {
        Ok(row) if row.is_new => Ok(InsertOutcome::New(call)),
        Ok(row) if row.has_place && row.gave_way => Ok(InsertOutcome::Superseded),
        Ok(row) if row.has_place => Ok(InsertOutcome::Known),
        Ok(_) => Ok(InsertOutcome::NoConversation),
        // It was deleted in this very moment.
        Err(error) if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation) => {
            Ok(InsertOutcome::NoConversation)
        }
        Err(error) => Err(error.into()),
    }
}

/// Another call of a turn whose first one came to nothing.
pub struct FallbackCall<'a> {
    /// The turn.
    pub turn_id: TurnId,
    /// The call that came to nothing.
    pub failed: PendingCall,
    /// Whether its provider was asked and didn't answer.
    pub provider_failed: bool,
    /// Who will answer instead.
    pub model: &'a ModelName,
    /// Their price.
    pub price_id: ModelPriceId,
    /// Input as estimated for them.
    pub estimated: Tokens,
    /// When.
    pub now: OffsetDateTime,
}

/// Closes a call that its provider never accepted, which cost nothing, and opens the next one of the same turn: it counts at the instant
/// of the first, and holds what the turn was admitted for.
///
/// # Errors
/// Returns an error if the query fails; then the first call is still pending.
pub async fn add_fallback_call(db: impl PgExecutor<'_>, again: &FallbackCall<'_>) -> Result<Option<PendingCall>> {
    let call = PendingCall { id: AiUsageId::at(again.now), created_at: again.failed.created_at };
    let done = sqlx::query!(
        "with failed as (
           update ai_usage set status = 'failed', usage_source = 'exact', settled_at = $3, provider_failed = $9
           where created_at = $1 and ai_usage_id = $2 and status = 'pending' returning *
         )
         insert into ai_usage (ai_usage_id, turn_id, call_no, purpose, user_id, subject, model, model_price_id, status, counted_tokens,
                               estimated_tokens, reserved_tokens, created_at)
         select $4, turn_id, call_no + 1, purpose, user_id, subject, $5, $6, 'pending', counted_tokens, $7, reserved_tokens, created_at
         from failed where turn_id = $8",
        again.failed.created_at,
        Uuid::from(again.failed.id),
        again.now,
        Uuid::from(call.id),
        again.model.0,
        Uuid::from(again.price_id),
        again.estimated.to_db(),
        Uuid::from(again.turn_id),
        again.provider_failed,
    )
    .execute(db)
    .await?;
    Ok((done.rows_affected() == 1).then_some(call))
}

/// A question whose answer never began.
pub struct Refused {
    /// The turn.
    pub turn_id: TurnId,
    /// Where it belonged.
    pub conversation_id: ConversationId,
    /// Whether the conversation was begun for it.
    pub began: bool,
    /// The ledger row.
    pub call: PendingCall,
    /// Whether its provider was asked and didn't answer.
    pub provider_failed: bool,
    /// What its provider may bill; none where it was not accepted.
    pub usage: Option<Usage>,
    /// What that costs.
    pub cost: Picos,
    /// When.
    pub now: OffsetDateTime,
}

/// Undoes a question whose answer never began: the words and a conversation begun for them go, what it replaced comes back, and the
/// ledger keeps a row that says so, with what it may have cost. The turn is left, ended, until [`undone`]: so that its hold is found.
///
/// # Errors
/// Returns an error if the query fails; then everything stays pending and the reaper ends it.
pub async fn refused(db: &Db, refused: &Refused) -> Result<()> {
    let Refused { turn_id, conversation_id, began, call, provider_failed, usage, cost, now } = *refused;
    let source = if usage.is_some() { UsageSource::Estimated } else { UsageSource::Exact };
    let usage = usage.unwrap_or_default();
    let mut tx = crate::begin(db).await?;
    if began {
        // Somebody may have asked in it meanwhile, from another tab: then it stays.
        sqlx::query!(
            "select conversation_id from conversation where conversation_id = $1 for update",
            Uuid::from(conversation_id)
        )
        .fetch_optional(&mut tx)
        .await?;
        sqlx::query!(
            "delete from conversation where conversation_id = $1
             and not exists (select from message where conversation_id = $1 and turn_id <> $2)",
            Uuid::from(conversation_id),
            Uuid::from(turn_id),
        )
        .execute(&mut tx)
        .await?;
    }
    sqlx::query!("update turn set ended_at = now(), conversation_id = null where turn_id = $1", Uuid::from(turn_id))
        .execute(&mut tx)
        .await?;
    sqlx::query!("delete from message where turn_id = $1", Uuid::from(turn_id)).execute(&mut tx).await?;
    sqlx::query!("update message set superseded_by = null where superseded_by = $1", Uuid::from(turn_id))
        .execute(&mut tx)
        .await?;
    sqlx::query!(
        // Whichever calls are pending: a fallback's may have been written without our hearing of it. Of two, the other one is closed with
        // its estimated input.
        "update ai_usage u set status = 'failed', usage_source = case when is_other then 'estimated' else $5 end, settled_at = $4,
           input_tokens = case when is_other then u.estimated_tokens else $6 end,
           cost_usd = case when is_other then u.estimated_tokens::numeric * price / 1000000000000 else $7 end,
           provider_failed = $8, call_no = case when is_hedge then 0 else u.call_no end
         from (
           select ai_usage_id, p.input as price, count(*) over () > 1 and ai_usage_id <> $3 as is_other,
                  count(*) over () > 1 and call_no > 1 as is_hedge
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
    )
    .execute(&mut tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Forgets an undone turn once its hold is released: the same question may come again under the same id.
///
/// # Errors
/// Returns an error if the query fails; then the reaper settles the turn at zero.
pub async fn undone(db: impl PgExecutor<'_>, turn_id: TurnId) -> Result<()> {
    sqlx::query!(
        "delete from turn where turn_id = $1 and ended_at is not null and settled_at is null",
        Uuid::from(turn_id)
    )
    .execute(db)
    .await?;
    Ok(())
}

//! Turns: what is written before a vendor is asked, and what when it has answered. Each is one transaction, and both
//! take their locks in the same order: conversation, turn, message, ledger.

use crate::{Db, Result};
use domain::{
    AiUsageId, ConversationId, MessageId, MessageStatus, ModelName, ModelPriceId, Outcome, Picos, Role, Tokens, TurnId,
    Usage, UsageSource, UserId, Vendor,
};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// How long a turn counts as alive without another sign.
pub const ALIVE: time::Duration = time::Duration::seconds(30);

/// A turn that exists already.
pub struct Known {
    /// Whose it is; none once the account is gone.
    pub user_id: Option<UserId>,
    /// What was asked, hashed.
    pub request_hash: Vec<u8>,
    /// Whether it is over.
    pub ended: bool,
}

/// Looks a turn up by its key, whoever owns it.
///
/// # Errors
/// When Postgres does.
pub async fn find(db: impl PgExecutor<'_>, id: TurnId) -> Result<Option<Known>> {
    let row = sqlx::query!(
        r#"select user_id, request_hash, ended_at is not null as "ended!" from turn where turn_id = $1"#,
        Uuid::from(id)
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Known { user_id: row.user_id.map(Into::into), request_hash: row.request_hash, ended: row.ended }))
}

/// Everything that must be durable before money is spent.
pub struct Ask<'a> {
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
    /// What the person said.
    pub text: &'a str,
    /// What was asked, hashed.
    pub request_hash: &'a [u8],
    /// Who will answer.
    pub model: &'a ModelName,
    /// The price in force.
    pub price_id: ModelPriceId,
    /// Input as estimated.
    pub estimated: Tokens,
    /// What the meters hold.
    pub reserved: Tokens,
    /// When it was admitted: the instant the usage counts at.
    pub now: OffsetDateTime,
}

/// A vendor call that is written down and not yet paid for.
#[derive(Clone, Copy, Debug)]
pub struct PendingCall {
    /// The ledger row.
    pub id: AiUsageId,
    /// Its partition.
    pub created_at: OffsetDateTime,
}

/// Whether the turn is ours to run.
pub enum Asked {
    /// Everything is written.
    New(PendingCall),
    /// Somebody sent the same turn a moment earlier; nothing was written.
    Known,
    /// The conversation went away meanwhile; nothing was written.
    NoConversation,
}

/// Writes the person's message, the turn and a pending ledger row, or nothing.
///
/// # Errors
/// When Postgres does; then nothing is written.
pub async fn ask(db: &Db, ask: &Ask<'_>) -> Result<Asked> {
    let (turn, conversation) = (Uuid::from(ask.turn_id), Uuid::from(ask.conversation_id));
    let mut tx = crate::begin(db).await?;
    if let Some(title) = ask.new_title {
        sqlx::query!(
            "insert into conversation (conversation_id, user_id, title, created_at, updated_at) values ($1, $2, $3, $4, $4)",
            conversation,
            Uuid::from(ask.user_id),
            title,
            ask.now,
        )
        .execute(&mut *tx)
        .await?;
    } else {
        let touched = sqlx::query!(
            "update conversation set updated_at = $3 where conversation_id = $1 and user_id = $2",
            conversation,
            Uuid::from(ask.user_id),
            ask.now,
        )
        .execute(&mut *tx)
        .await?;
        if touched.rows_affected() == 0 {
            return Ok(Asked::NoConversation);
        }
    }
    let inserted = sqlx::query!(
        "insert into turn (turn_id, user_id, subject, conversation_id, request_hash, alive_until, created_at)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        turn,
        Uuid::from(ask.user_id),
        ask.subject,
        conversation,
        ask.request_hash,
        ask.now + ALIVE,
        ask.now,
    )
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(Asked::Known);
    }
    sqlx::query!(
        "insert into message (message_id, conversation_id, turn_id, role, body, status, created_at)
         values ($1, $2, $3, 'user', $4, 'finished', $5)",
        Uuid::from(MessageId::at(ask.now)),
        conversation,
        turn,
        ask.text,
        ask.now,
    )
    .execute(&mut *tx)
    .await?;
    let call = PendingCall { id: AiUsageId::at(ask.now), created_at: ask.now };
    sqlx::query!(
        "insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, estimated_tokens, reserved_tokens, created_at)
         values ($1, $2, $3, $4, $5, $6, 'pending', $7, $8, $9)",
        Uuid::from(call.id),
        turn,
        Uuid::from(ask.user_id),
        ask.subject,
        ask.model.0,
        Uuid::from(ask.price_id),
        ask.estimated.to_db(),
        ask.reserved.to_db(),
        call.created_at,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Asked::New(call))
}

/// Everything that is known when a turn has ended.
pub struct Record<'a> {
    /// The turn.
    pub turn_id: TurnId,
    /// Where its answer belongs.
    pub conversation_id: ConversationId,
    /// The ledger row to make final.
    pub call: PendingCall,
    /// Who answered.
    pub model: &'a ModelName,
    /// The answer, as far as it came.
    pub text: &'a str,
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: &'a Usage,
    /// Who counted.
    pub source: UsageSource,
    /// The tier that held.
    pub price_id: ModelPriceId,
    /// What it cost.
    pub cost: Picos,
    /// The vendor's name for the call.
    pub provider_request_id: Option<&'a str>,
    /// When it ended.
    pub now: OffsetDateTime,
}

/// Makes the ledger row final and keeps the answer; false where the row was final already, and then nothing is written.
///
/// # Errors
/// When Postgres does; then nothing is written.
pub async fn record(db: &Db, end: &Record<'_>) -> Result<bool> {
    let mut tx = crate::begin(db).await?;
    // Locks the conversation, or learns that it is gone: then the answer has no place, and the ledger row still has.
    let place = sqlx::query!(
        "update conversation set updated_at = $2 where conversation_id = $1 returning conversation_id",
        Uuid::from(end.conversation_id),
        end.now,
    )
    .fetch_optional(&mut *tx)
    .await?;
    sqlx::query!("update turn set ended_at = $2 where turn_id = $1", Uuid::from(end.turn_id), end.now)
        .execute(&mut *tx)
        .await?;
    let status = match end.outcome {
        Outcome::Finished => MessageStatus::Finished,
        Outcome::Stopped => MessageStatus::Stopped,
        Outcome::Truncated => MessageStatus::Truncated,
        Outcome::Failed | Outcome::Lost => MessageStatus::Failed,
    };
    if place.is_some() {
        sqlx::query!(
            "insert into message (message_id, conversation_id, turn_id, role, body, status, model, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (turn_id, role) do nothing",
            Uuid::from(MessageId::at(end.now)),
            Uuid::from(end.conversation_id),
            Uuid::from(end.turn_id),
            Role::Assistant.as_str(),
            end.text,
            status.as_str(),
            end.model.0,
            end.now,
        )
        .execute(&mut *tx)
        .await?;
    }
    let done = sqlx::query!(
        "update ai_usage set status = $3, usage_source = $4, input_tokens = $5, cache_read_tokens = $6, cache_write_tokens = $7,
                output_tokens = $8, reasoning_tokens = $9, cost_usd = $10, model_price_id = $11, provider_request_id = $12, settled_at = $13
         where created_at = $1 and ai_usage_id = $2 and status = 'pending'",
        end.call.created_at,
        Uuid::from(end.call.id),
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
        end.now,
    )
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    tx.commit().await?;
    Ok(true)
}

/// Says that the process running a turn is alive; false where the turn is over already.
///
/// # Errors
/// When Postgres does.
pub async fn beat(db: impl PgExecutor<'_>, id: TurnId, now: OffsetDateTime) -> Result<bool> {
    let done = sqlx::query!(
        "update turn set alive_until = $2 where turn_id = $1 and ended_at is null",
        Uuid::from(id),
        now + ALIVE
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Says that the meters know what a turn used.
///
/// # Errors
/// When Postgres does.
pub async fn settled(db: impl PgExecutor<'_>, id: TurnId, now: OffsetDateTime) -> Result<()> {
    sqlx::query!("update turn set settled_at = $2 where turn_id = $1", Uuid::from(id), now).execute(db).await?;
    Ok(())
}

/// A turn that has ended and whose hold may still stand.
pub struct Unsettled {
    /// The turn.
    pub turn_id: TurnId,
    /// Names the meters.
    pub subject: String,
    /// When it was admitted.
    pub at: OffsetDateTime,
    /// What it used.
    pub used: Tokens,
    /// What it cost.
    pub cost: Picos,
}

/// Turns that ended a while ago without their meters being told.
///
/// # Errors
/// When Postgres does.
pub async fn unsettled(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<Vec<Unsettled>> {
    let rows = sqlx::query!(
        r#"select t.turn_id, t.subject, t.created_at,
                  (select coalesce(sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens), 0)::bigint
                   from ai_usage u where u.turn_id = t.turn_id) as "used!",
                  (select coalesce(sum(cost_usd), 0) from ai_usage u where u.turn_id = t.turn_id) as "cost!"
           from turn t where t.settled_at is null and t.ended_at < $1 order by t.ended_at limit 100"#,
        now - time::Duration::seconds(15),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Unsettled {
            turn_id: row.turn_id.into(),
            subject: row.subject,
            at: row.created_at,
            used: Tokens::from_db(row.used),
            cost: Picos::from_usd(row.cost).unwrap_or_default(),
        })
        .collect())
}

/// A turn whose process has given no sign: what the reaper needs to end it.
pub struct Dead {
    /// The turn.
    pub turn_id: TurnId,
    /// Names the meters.
    pub subject: String,
    /// Where it belonged; none once that is deleted.
    pub conversation_id: Option<ConversationId>,
    /// Who was asked.
    pub model: ModelName,
    /// In whose wire format; its words are counted accordingly.
    pub vendor: Vendor,
    /// The price it was admitted at.
    pub price_id: ModelPriceId,
    /// Input as estimated.
    pub estimated: Tokens,
    /// The ledger row.
    pub call: PendingCall,
}

/// Turns that still have a pending row though their process is gone.
///
/// # Errors
/// When Postgres does.
pub async fn dead(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<Vec<Dead>> {
    let rows = sqlx::query!(
        "select t.turn_id, t.subject, t.conversation_id, u.model, m.vendor, u.model_price_id, u.estimated_tokens, u.ai_usage_id, u.created_at
         from turn t join ai_usage u on u.turn_id = t.turn_id and u.created_at = t.created_at join model m using (model)
         where t.ended_at is null and t.alive_until < $1 and u.status = 'pending' order by t.alive_until limit 100",
        now,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Dead {
            turn_id: row.turn_id.into(),
            subject: row.subject,
            conversation_id: row.conversation_id.map(Into::into),
            model: ModelName(row.model),
            vendor: row.vendor.parse().unwrap_or(Vendor::OpenAi),
            price_id: row.model_price_id.into(),
            estimated: Tokens::from_db(row.estimated_tokens),
            call: PendingCall { id: row.ai_usage_id.into(), created_at: row.created_at },
        })
        .collect())
}

/// The conversation that a turn of this person belongs to.
///
/// # Errors
/// When Postgres does.
pub async fn owned(db: impl PgExecutor<'_>, owner: UserId, id: TurnId) -> Result<bool> {
    let row = sqlx::query!(
        "select 1 as one from turn where turn_id = $1 and user_id = $2",
        Uuid::from(id),
        Uuid::from(owner),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.is_some())
}

/// The turn that runs now in a conversation of this person, if any.
///
/// # Errors
/// When Postgres does.
pub async fn running(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    now: OffsetDateTime,
) -> Result<Option<(TurnId, ModelName)>> {
    let row = sqlx::query!(
        "select t.turn_id, u.model from turn t join ai_usage u on u.turn_id = t.turn_id and u.created_at = t.created_at
         where t.user_id = $1 and t.conversation_id = $2 and t.ended_at is null and t.alive_until >= $3
         order by t.created_at desc limit 1",
        Uuid::from(owner),
        Uuid::from(conversation),
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (row.turn_id.into(), ModelName(row.model))))
}

/// Undoes a question that its vendor never accepted: the words and a conversation begun for them go, and the ledger
/// keeps a row that says so and cost nothing.
///
/// # Errors
/// When Postgres does; then everything stays pending and the reaper ends it.
pub async fn refused(
    db: &Db,
    turn_id: TurnId,
    conversation: ConversationId,
    began: bool,
    call: PendingCall,
    now: OffsetDateTime,
) -> Result<()> {
    let mut tx = crate::begin(db).await?;
    if began {
        sqlx::query!("delete from conversation where conversation_id = $1", Uuid::from(conversation))
            .execute(&mut *tx)
            .await?;
    }
    // The same question may come again under the same id: nothing of it is known any more.
    sqlx::query!("delete from turn where turn_id = $1", Uuid::from(turn_id)).execute(&mut *tx).await?;
    sqlx::query!("delete from message where turn_id = $1", Uuid::from(turn_id)).execute(&mut *tx).await?;
    sqlx::query!(
        "update ai_usage set status = 'failed', usage_source = 'exact', settled_at = $3
         where created_at = $1 and ai_usage_id = $2 and status = 'pending'",
        call.created_at,
        Uuid::from(call.id),
        now,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

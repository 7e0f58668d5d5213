//! Turns: what is read before admission, what is written before a provider is called, and what is recorded after it has responded. Each
//! step is one statement, and all of them take their locks in the same order: conversation, turn, message, ledger, hour.
//!
//! Statements with many parameters name them once, in `input`, and refer to the names. It is `not materialized`: the planner replaces it by
//! the parameters, so it costs nothing.

mod call;
mod context;
mod hedge;
mod reap;
mod record;
mod status;
mod withdraw;
mod write_pending;

pub use call::{CallOwner, NewCall, SidePurpose, write_call_pending};
pub use context::{AvailableModel, SettingsKey, Switches, TurnContext, load_chat_context, load_turn_context};
pub use hedge::{HedgeCall, add_hedge_call, close_unbilled, promote_hedge_call};
pub use reap::{ExpiredTurn, Unsettled, list_expired, list_unsettled, mark_settled};
pub use record::{AnswerMessage, Record, correct_lost, record, write_answer};
pub use status::{LatestTurn, TurnStatus, status};
pub use withdraw::{WithdrawnTurn, withdraw};
pub use write_pending::{
    Branch, FallbackCall, InsertOutcome, NewTurn, PendingCall, Question, UndoneTurn, add_fallback_call, delete_undone,
    undo, write_pending,
};

use crate::Result;
use domain::{ConversationId, HeldCall, MessageId, ModelName, Tokens, TurnId, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A turn that already exists.
#[derive(Clone, Debug)]
pub struct ExistingTurn {
    /// The owner; `None` once the account is deleted.
    pub user_id: Option<UserId>,
    /// Hash of the request.
    pub request_hash: Vec<u8>,
    /// Whether it has ended.
    pub ended: bool,
    /// Whether its lease is still valid, by Postgres' clock.
    pub is_alive: bool,
}

/// Loads a turn by its id, regardless of its owner.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn find(db: impl PgExecutor<'_>, id: TurnId) -> Result<Option<ExistingTurn>> {
    let row = sqlx::query!(
        r#"select user_id, request_hash, ended_at is not null as "ended!", alive_until >= now() as "is_alive!"
           from turn where turn_id = $1"#,
        Uuid::from(id)
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| ExistingTurn {
        user_id: row.user_id.map(Into::into),
        request_hash: row.request_hash,
        ended: row.ended,
        is_alive: row.is_alive,
    }))
}

/// Lists a user's pending calls, newest first. Of a hedged turn that waits for two calls, only the requested model's is listed.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_held(db: impl PgExecutor<'_>, owner: UserId) -> Result<Vec<HeldCall>> {
    let rows = sqlx::query!(
        r#"select u.model as "model!", t.created_at, u.reserved_tokens as "reserved_tokens!", t.alive_until >= now() as "is_alive!"
           from turn t
           join lateral (
             select model, reserved_tokens from ai_usage
             where turn_id = t.turn_id and created_at = t.created_at and status = 'pending' order by call_no desc limit 1
           ) u on true
           where t.user_id = $1 and t.ended_at is null order by t.created_at desc"#,
        Uuid::from(owner),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| HeldCall {
            model: ModelName(row.model),
            since: row.created_at,
            reserved: Tokens::from_db(row.reserved_tokens),
            is_alive: row.is_alive,
        })
        .collect())
}

/// Renews a turn's lease until 30 seconds from now, by Postgres' clock. Returns false if the turn has already ended.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn renew_lease(db: impl PgExecutor<'_>, id: TurnId) -> Result<bool> {
    let done = sqlx::query!(
        "update turn set alive_until = now() + interval '30 seconds' where turn_id = $1 and ended_at is null",
        Uuid::from(id),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns whether a turn exists and belongs to this user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn is_owned_by(db: impl PgExecutor<'_>, owner: UserId, id: TurnId) -> Result<bool> {
    let row = sqlx::query!(
        "select 1 as one from turn where turn_id = $1 and user_id = $2",
        Uuid::from(id),
        Uuid::from(owner),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.is_some())
}

/// A turn whose response is to be regenerated.
pub struct RegenerableTurn {
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// The question that it answers.
    pub question_id: MessageId,
    /// The question's text.
    pub text: String,
    /// The message before the question; `None` for the first one.
    pub parent_id: Option<MessageId>,
    /// The leaf of the conversation's visible path.
    pub leaf_id: Option<MessageId>,
    /// Whether the turn's response is stored, or there is none to wait for.
    pub ended: bool,
    /// Whether another response to the question is in progress.
    pub is_regenerating: bool,
}

/// Loads a turn of this user, or of an imported conversation. Returns `None` if it doesn't exist, belongs to another user, or its question was
/// deleted.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load_for_regenerate(
    db: impl PgExecutor<'_>,
    owner: UserId,
    id: TurnId,
) -> Result<Option<RegenerableTurn>> {
    let row = sqlx::query!(
        r#"select c.conversation_id, c.leaf_id, q.message_id as question_id, q.body, q.parent_id,
                  known.has_response or t.ended_at is not null as "ended!",
                  exists (
                    select from turn r
                    where r.question_id = q.message_id and r.turn_id <> known.turn_id and r.ended_at is null and r.alive_until >= now()
                      and not exists (select from message m where m.turn_id = r.turn_id and m.role = 'assistant')
                  ) as "is_regenerating!"
           from (
             select i.turn_id, a.message_id is not null as has_response, a.parent_id as question_id
             from (select $1::uuid as turn_id) i left join message a on a.turn_id = i.turn_id and a.role = 'assistant'
           ) known
           left join turn t on t.turn_id = known.turn_id
           join message q on q.message_id = coalesce(known.question_id, t.question_id) and q.role = 'user'
           join conversation c on c.conversation_id = q.conversation_id
           where c.user_id = $2"#,
        Uuid::from(id),
        Uuid::from(owner),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| RegenerableTurn {
        conversation_id: row.conversation_id.into(),
        question_id: row.question_id.into(),
        text: row.body,
        parent_id: row.parent_id.map(Into::into),
        leaf_id: row.leaf_id.map(Into::into),
        ended: row.ended,
        is_regenerating: row.is_regenerating,
    }))
}

/// Returns the turn that is running at a question, if there is one; without `leaf` at the end of the conversation's visible path. Its model is
/// the one that responded, or the requested one while a hedged turn waits for two. A turn whose response is stored isn't running any more, although its usage may still be
/// read.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn running(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    leaf: Option<MessageId>,
) -> Result<Option<(TurnId, ModelName)>> {
    let row = sqlx::query!(
        "select t.turn_id, u.model from turn t join ai_usage u on u.turn_id = t.turn_id and u.created_at = t.created_at
         join conversation c on c.conversation_id = t.conversation_id and t.question_id = coalesce($3, c.leaf_id)
         where t.user_id = $1 and t.conversation_id = $2 and t.ended_at is null and t.alive_until >= now()
           and not exists (select from message m where m.turn_id = t.turn_id and m.role = 'assistant')
         order by t.created_at desc, u.call_no desc limit 1",
        Uuid::from(owner),
        Uuid::from(conversation),
        leaf.map(Uuid::from),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (row.turn_id.into(), ModelName(row.model))))
}

/// Counts the running turns and the tokens reserved for them.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn count_running(db: impl PgExecutor<'_>) -> Result<(u64, Tokens)> {
    let row = sqlx::query!(
        r#"select count(*) as "running!", coalesce(sum(reserved), 0)::bigint as "reserved!"
           from (
             select max(u.reserved_tokens) as reserved
             from turn t join ai_usage u on u.turn_id = t.turn_id and u.created_at = t.created_at
             where t.ended_at is null and u.status = 'pending' group by t.turn_id
           ) turns"#
    )
    .fetch_one(db)
    .await?;
    Ok((row.running.max(0).cast_unsigned(), Tokens::from_db(row.reserved)))
}

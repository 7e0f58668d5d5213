//! Turns: what is read before admission, what is written before a provider is called, and what is recorded after it has responded. Each
//! step is one statement, and all of them take their locks in the same order: conversation, turn, message, ledger, hour.
//!
//! Statements with many parameters name them once, in `input`, and refer to the names. It is `not materialized`: the planner replaces it by
//! the parameters, so it costs nothing.

mod call;
mod hedge;
mod reap;
mod record;
mod side_call;
mod status;
mod withdraw;
mod write_pending;

pub use call::{CallOwner, NewCall, write_call_pending};
pub use hedge::{HedgeCall, add_hedge_call, close_unbilled, demote_hedge_call};
pub use reap::{ExpiredTurn, Unsettled, list_expired, list_unsettled, mark_settled};
pub use record::{AnswerMessage, Record, record, write_answer};
pub use side_call::{NewSideCall, SidePurpose, write_side_pending};
pub use status::{LatestTurn, TurnStatus, status};
pub use withdraw::{WithdrawnTurn, withdraw};
pub use write_pending::{
    Branch, FallbackCall, InsertOutcome, NewTurn, PendingCall, Question, UndoneTurn, add_fallback_call, delete_undone,
    undo, write_pending,
};

use crate::Result;
use domain::{
    ConversationId, HeldCall, MessageId, MicrosPerMillion, Model, ModelName, Picos, Price, PriceList, Tokens, TurnId,
    UserId,
};
use sqlx::PgExecutor;
use time::OffsetDateTime;
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

/// Lists a user's pending calls, newest first.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_held(db: impl PgExecutor<'_>, owner: UserId) -> Result<Vec<HeldCall>> {
    let rows = sqlx::query!(
        r#"select u.model, u.created_at, u.reserved_tokens, t.alive_until >= now() as "is_alive!"
           from turn t join ai_usage u on u.turn_id = t.turn_id and u.created_at = t.created_at
           where t.user_id = $1 and t.ended_at is null and u.status = 'pending' order by u.created_at desc"#,
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

/// The owner's global switches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// Whether all turns are refused.
    pub paused: bool,
    /// Maximum spend of all users in any 24 hours; `None` is unlimited.
    pub daily_spend: Option<Picos>,
}

/// An enabled model with the price in force.
#[derive(Clone, Debug)]
pub struct AvailableModel {
    /// The model.
    pub model: Model,
    /// The price in force; `None` if there is none, and then the model can't be used.
    pub price: Option<PriceList>,
    /// Maximum spend of all users on this model in any 24 hours; `None` is unlimited.
    pub daily_spend: Option<Picos>,
}

/// Everything a turn needs to know before it is admitted.
#[derive(Clone, Debug, Default)]
pub struct TurnContext {
    /// The turn, if it was sent before.
    pub known: Option<ExistingTurn>,
    /// The owner's global switches.
    pub switches: Switches,
    /// The enabled models among those requested, in the order of the model picker.
    pub offers: Vec<AvailableModel>,
}

/// Loads the switches, the enabled models (all, or only `model` and its fallback), their prices and whether the turn exists. One query
/// without a cache, so that every server applies a change from its next turn on.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load_turn_context(
    db: impl PgExecutor<'_>,
    id: TurnId,
    model: Option<&ModelName>,
    now: OffsetDateTime,
) -> Result<TurnContext> {
    let rows = sqlx::query!(
        r#"select h.paused, h.daily_spend_usd as global_spend,
                  t.turn_id is not null as "is_known!", t.user_id as "user_id?", t.request_hash as "request_hash?",
                  t.ended_at is not null as "ended!", coalesce(t.alive_until >= now(), false) as "is_alive!",
                  m.model as "model?", m.label as "label?", m.context as "context?", m.max_output as "max_output?",
                  m.fallback as "fallback?", m.hedge_after_ms as "hedge_after_ms?", m.input_permille as "input_permille?",
                  m.output_limit as "output_limit?", m.thinking as "thinking?", m.takes_images as "takes_images?", m.efforts as "efforts?",
                  m.min_cacheable as "min_cacheable?", m.first_byte_timeout_ms as "first_byte_timeout_ms?",
                  m.idle_timeout_ms as "idle_timeout_ms?", m.ends_at as "ends_at?", m.daily_spend_usd as "model_spend?",
                  v.provider as "provider?", v.label as "provider_label?", v.wire_format as "wire_format?", v.base_url as "base_url?",
                  v.key_variable as "key_variable?", v.connect_timeout_ms as "connect_timeout_ms?",
                  v.first_byte_timeout_ms as "provider_first_byte_timeout_ms?",
                  v.idle_timeout_ms as "provider_idle_timeout_ms?", v.max_in_flight as "max_in_flight?",
                  p.model_price_id as "model_price_id?", p.above as "above?", p.input_micros_per_million as "input?",
                  p.cache_read_micros_per_million as "cache_read?", p.cache_write_micros_per_million as "cache_write?",
                  p.cache_write_long_micros_per_million as "cache_write_long?", p.output_micros_per_million as "output?"
           from deployment h
           left join turn t on t.turn_id = $1
           left join (model m join provider v using (provider)) on m.enabled and ($3::text is null or m.model = $3
             or m.model = (select fallback from model where model = $3))
           left join lateral (
             select distinct on (coalesce(above_tokens, 0))
                    model_price_id, coalesce(above_tokens, 0) as above, input_micros_per_million, cache_read_micros_per_million,
                    cache_write_micros_per_million, cache_write_long_micros_per_million, output_micros_per_million
             from model_price where model = m.model and effective_at <= $2
             order by coalesce(above_tokens, 0), effective_at desc
           ) p on true
           order by m.sort, m.model, p.above"#,
        Uuid::from(id),
        now,
        model.map(|model| model.0.as_str()),
    )
    .fetch_all(db)
    .await?;
    let mut context = TurnContext::default();
    let mut offers: Vec<(Model, Option<Picos>, Vec<Price>)> = Vec::new();
    for row in rows {
        context.switches = Switches { paused: row.paused, daily_spend: row.global_spend.and_then(Picos::from_usd) };
        if let (true, Some(request_hash)) = (row.is_known, row.request_hash) {
            let (user_id, is_alive) = (row.user_id.map(Into::into), row.is_alive);
            context.known = Some(ExistingTurn { user_id, request_hash, ended: row.ended, is_alive });
        }
        let price = match (row.model_price_id, row.above, row.input, row.output) {
            (Some(id), Some(above), Some(input), Some(output)) => Some(Price {
                id: id.into(),
                above: Tokens::from_db(above),
                input: MicrosPerMillion(input),
                cache_read: row.cache_read.map(MicrosPerMillion),
                cache_write: row.cache_write.map(MicrosPerMillion),
                cache_write_long: row.cache_write_long.map(MicrosPerMillion),
                output: MicrosPerMillion(output),
            }),
            _ => None,
        };
        let daily_spend = row.model_spend.and_then(Picos::from_usd);
        let Some(model) = crate::model::from_row!(row).read() else { continue };
        match offers.last_mut() {
            Some((last, _, tiers)) if last.name == model.name => tiers.extend(price),
            _ => offers.push((model, daily_spend, price.into_iter().collect())),
        }
    }
    context.offers = offers
        .into_iter()
        .map(|(model, daily_spend, tiers)| AvailableModel { model, price: PriceList::new(tiers), daily_spend })
        .collect();
    Ok(context)
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

/// Returns the turn that is running at the end of a conversation's visible path, with the model that was called last, if there is one. A turn
/// whose response is stored isn't running any more, although its usage may still be read.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn running(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
) -> Result<Option<(TurnId, ModelName)>> {
    let row = sqlx::query!(
        "select t.turn_id, u.model from turn t join ai_usage u on u.turn_id = t.turn_id and u.created_at = t.created_at
         join conversation c on c.conversation_id = t.conversation_id and c.leaf_id = t.question_id
         where t.user_id = $1 and t.conversation_id = $2 and t.ended_at is null and t.alive_until >= now()
           and not exists (select from message m where m.turn_id = t.turn_id and m.role = 'assistant')
         order by t.created_at desc, u.call_no desc limit 1",
        Uuid::from(owner),
        Uuid::from(conversation),
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

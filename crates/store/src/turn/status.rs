//! The status of a turn.

use crate::Result;
use domain::{ConversationId, MessageId, Picos, Tokens, TurnId, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

/// The status of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnStatus {
    /// Whether it has ended: its response is stored, or there is none to wait for. A turn whose server has crashed or was stopped counts
    /// as running until the reaper has ended it.
    pub ended: bool,
    /// Its conversation; `None` if that was deleted, or if the turn was stopped before its response began.
    pub conversation_id: Option<ConversationId>,
    /// Its response; `None` while it is running, or without one.
    pub message_id: Option<MessageId>,
    /// Tokens and cost of all its calls; `None` until they are final. The usage of a stopped response may still be read after it has ended.
    pub used: Option<(Tokens, Picos)>,
    /// The turn at the end of its conversation's visible path.
    pub latest: Option<LatestTurn>,
}

/// The turn at the end of a conversation's visible path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestTurn {
    /// Turn id.
    pub turn_id: TurnId,
    /// Whether it is in progress.
    pub running: bool,
    /// Display name of its model, as [`super::running`] returns it.
    pub label: String,
}

/// Loads the state of a turn. Returns `None` if it doesn't exist or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn status(db: impl PgExecutor<'_>, owner: UserId, id: TurnId) -> Result<Option<TurnStatus>> {
    let row = sqlx::query!(
        r#"select (select c.conversation_id from conversation c
                   where c.conversation_id = t.conversation_id and c.deleted_at is null) as conversation_id, a.message_id as "message_id?",
                  t.ended_at is not null or t.conversation_id is null or a.message_id is not null as "ended!",
                  used.tokens as "tokens?", used.cost as "cost?", n.turn_id as "latest_turn_id?", n.running as "latest_running?", n.label as "latest_label?"
           from turn t
           left join message a on a.turn_id = t.turn_id and a.role = 'assistant'
           left join lateral (
             select sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens)::bigint as tokens, sum(cost_usd) as cost
             from ai_usage where turn_id = t.turn_id and created_at = t.created_at
           ) used on t.ended_at is not null
           left join lateral (
             select l.turn_id, coalesce(m.label, u.model, '') as label,
                    l.ended_at is null and not exists (select from message b where b.turn_id = l.turn_id and b.role = 'assistant') as running
             from (
               -- Of a question without a response, the regeneration that is in progress, if there is one.
               select coalesce(
                 (select r.turn_id from turn r
                  where e.role = 'user' and r.question_id = e.message_id and r.user_id = $2 and r.ended_at is null
                  order by r.created_at desc limit 1),
                 e.turn_id) as turn_id
               from conversation c join message e on e.message_id = c.leaf_id
               where c.conversation_id = t.conversation_id
             ) e
             join turn l on l.turn_id = e.turn_id
             left join lateral (
               select model from ai_usage where turn_id = l.turn_id and created_at = l.created_at order by call_no desc limit 1
             ) u on true
             left join model m on m.model = u.model
           ) n on true
           where t.turn_id = $1 and t.user_id = $2"#,
        Uuid::from(id),
        Uuid::from(owner),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| TurnStatus {
        ended: row.ended,
        conversation_id: row.conversation_id.map(Into::into),
        message_id: row.message_id.map(Into::into),
        used: row.tokens.zip(row.cost.and_then(Picos::from_usd)).map(|(tokens, cost)| (Tokens::from_db(tokens), cost)),
        latest: row.latest_turn_id.zip(row.latest_running).map(|(turn_id, running)| LatestTurn {
            turn_id: turn_id.into(),
            running,
            label: row.latest_label.unwrap_or_default(),
        }),
    }))
}

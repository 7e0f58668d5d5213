//! Messages of a conversation.

use crate::Result;
use domain::{ConversationId, Message, MessageStatus, ModelName, Picos, Role, Tokens, TurnId, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A conversation's messages in order, answers with what their turn used and cost. Empty where it isn't theirs.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, owner: UserId, conversation: ConversationId) -> Result<Vec<Message>> {
    let rows = sqlx::query!(
        r#"select m.message_id, m.turn_id, m.role, m.body, m.status, m.model, m.created_at,
                  u.tokens::bigint as tokens, u.cost as cost
           from conversation c
           join message m using (conversation_id)
           left join lateral (
             select sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens) as tokens, sum(cost_usd) as cost
             from ai_usage where turn_id = m.turn_id
           ) u on m.role = 'assistant'
           where c.user_id = $1 and c.conversation_id = $2 and m.superseded_by is null
           order by m.message_id"#,
        Uuid::from(owner),
        Uuid::from(conversation),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Message {
            id: row.message_id.into(),
            conversation_id: conversation,
            turn_id: row.turn_id.into(),
            role: if row.role == Role::User.as_str() { Role::User } else { Role::Assistant },
            text: row.body,
            status: MessageStatus::from_db(&row.status),
            model: row.model.map(ModelName),
            tokens: row.tokens.map(Tokens::from_db),
            cost: row.cost.and_then(Picos::from_usd),
            created_at: row.created_at,
        })
        .collect())
}

/// A message as a model reads it.
pub struct Said {
    /// The turn that made it.
    pub turn_id: TurnId,
    /// Who spoke.
    pub role: Role,
    /// What was said.
    pub text: String,
}

/// What was said in a conversation, in order, without what says nothing (an answer that broke off before its first word) and what gave
/// way to a newer answer. None where the conversation isn't theirs.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn said(db: impl PgExecutor<'_>, owner: UserId, conversation: ConversationId) -> Result<Option<Vec<Said>>> {
    let rows = sqlx::query!(
        r#"select m.turn_id as "turn_id?", m.role as "role?", m.body as "body?"
           from conversation c
           left join message m on m.conversation_id = c.conversation_id and m.superseded_by is null and m.body <> ''
           where c.user_id = $1 and c.conversation_id = $2
           order by m.message_id"#,
        Uuid::from(owner),
        Uuid::from(conversation),
    )
    .fetch_all(db)
    .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let said = rows.into_iter().filter_map(|row| {
        Some(Said {
            turn_id: row.turn_id?.into(),
            role: if row.role? == Role::User.as_str() { Role::User } else { Role::Assistant },
            text: row.body?,
        })
    });
    Ok(Some(said.collect()))
}

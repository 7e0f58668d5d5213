//! Messages of a conversation.

use crate::Result;
use domain::{
    ConversationId, HistoryCut, Message, MessageId, MessageStatus, ModelName, Picos, Role, Tokens, TurnId, UserId,
};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A message's HTML as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHtml {
    /// The HTML.
    pub html: String,
    /// Version of the renderer that wrote it.
    pub version: i16,
}

/// A message of the transcript.
pub struct StoredMessage {
    /// The message.
    pub message: Message,
    /// Its HTML; `None` if it wasn't rendered yet.
    pub html: Option<StoredHtml>,
    /// The user's rating of the response; `None` if there is none.
    pub is_good: Option<bool>,
}

/// Lists the last `limit` messages of a conversation, or the last ones before `before`, oldest first; responses include their turn's tokens
/// and cost, and what was left out of their prompt. Superseded messages are omitted.
/// Empty if the conversation doesn't exist or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    before: Option<MessageId>,
    limit: i64,
) -> Result<Vec<StoredMessage>> {
    let rows = sqlx::query!(
        r#"select m.message_id, m.turn_id, m.role, m.body, m.reasoning, m.status, m.model, m.created_at, m.html, m.html_version,
                  t.history_cut as "history_cut?", f.is_good as "is_good?", u.tokens::bigint as tokens, u.cost as cost
           from (
             select m.* from conversation c join message m using (conversation_id)
             where c.user_id = $1 and c.conversation_id = $2 and c.deleted_at is null and m.superseded_by is null and m.message_id < $3
             order by m.message_id desc limit $4
           ) m
           left join turn t on t.turn_id = m.turn_id and m.role = 'assistant'
           left join feedback f on f.turn_id = m.turn_id and m.role = 'assistant'
           left join lateral (
             select sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens) as tokens, sum(cost_usd) as cost
             from ai_usage where turn_id = m.turn_id
           ) u on m.role = 'assistant'
           order by m.message_id"#,
        Uuid::from(owner),
        Uuid::from(conversation),
        before.map_or(Uuid::max(), Uuid::from),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| StoredMessage {
            html: row.html.zip(row.html_version).map(|(html, version)| StoredHtml { html, version }),
            is_good: row.is_good,
            message: Message {
                id: row.message_id.into(),
                conversation_id: conversation,
                turn_id: row.turn_id.into(),
                role: if row.role == Role::User.as_str() { Role::User } else { Role::Assistant },
                text: row.body,
                reasoning: row.reasoning,
                history_cut: row.history_cut.as_deref().and_then(HistoryCut::from_db),
                status: MessageStatus::from_db(&row.status),
                model: row.model.map(ModelName),
                tokens: row.tokens.map(Tokens::from_db),
                cost: row.cost.and_then(Picos::from_usd),
                created_at: row.created_at,
            },
        })
        .collect())
}

/// Stores the HTML of messages that were rendered again. Skips messages that another request is writing.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn store_html(
    db: impl PgExecutor<'_>,
    owner: UserId,
    rendered: &[(MessageId, String)],
    version: i16,
) -> Result<()> {
    let ids: Vec<Uuid> = rendered.iter().map(|(id, _)| Uuid::from(*id)).collect();
    let html: Vec<String> = rendered.iter().map(|(_, html)| html.clone()).collect();
    sqlx::query!(
        "with writable as (
           select m.message_id from message m join conversation c using (conversation_id)
           where m.message_id = any($1) and c.user_id = $2
           order by m.message_id for no key update of m skip locked
         )
         update message m set html = r.html, html_version = $4
         from writable w join unnest($1::uuid[], $3::text[]) as r(message_id, html) using (message_id)
         where m.message_id = w.message_id",
        &ids,
        Uuid::from(owner),
        &html,
        version,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What the page shows of a turn beside its events.
pub struct TurnHead {
    /// The user's message.
    pub text: String,
    /// Its HTML; `None` if it wasn't rendered yet.
    pub html: Option<StoredHtml>,
    /// The model's display name; `None` if the model doesn't exist any more.
    pub label: Option<String>,
}

/// Loads the user's message of a turn, and the display name of `model`, which answers. Returns `None` if the turn has no message any more,
/// or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load_turn_head(
    db: impl PgExecutor<'_>,
    owner: UserId,
    turn: TurnId,
    model: &str,
) -> Result<Option<TurnHead>> {
    let row = sqlx::query!(
        r#"select m.body, m.html, m.html_version, (select label from model where model = $3) as label
           from message m join conversation c using (conversation_id)
           where m.turn_id = $1 and m.role = 'user' and c.user_id = $2 and c.deleted_at is null"#,
        Uuid::from(turn),
        Uuid::from(owner),
        model,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| TurnHead {
        text: row.body,
        html: row.html.zip(row.html_version).map(|(html, version)| StoredHtml { html, version }),
        label: row.label,
    }))
}

/// A message as it is sent to a model.
pub struct PromptMessage {
    /// Message id. Messages sort by it.
    pub message_id: MessageId,
    /// The turn that wrote it.
    pub turn_id: TurnId,
    /// Its author: user or assistant.
    pub role: Role,
    /// The message text.
    pub text: String,
}

/// Loads a conversation's messages in order for a prompt. Leaves out superseded messages, blank ones (responses that were interrupted before
/// their first token), and both messages of a turn whose response the model or a content filter refused, because sending them again would
/// be refused again. Returns `None` if the conversation doesn't exist or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load_prompt(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
) -> Result<Option<Vec<PromptMessage>>> {
    load(db, owner, conversation, None).await
}

/// Loads a conversation's messages as [`load_prompt`] does, to regenerate a response: the messages of `retry_of` are kept although its
/// response was refused.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load_prompt_for_retry(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    retry_of: TurnId,
) -> Result<Option<Vec<PromptMessage>>> {
    load(db, owner, conversation, Some(retry_of)).await
}

async fn load(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    retry_of: Option<TurnId>,
) -> Result<Option<Vec<PromptMessage>>> {
    let rows = sqlx::query!(
        r#"select m.message_id as "message_id?", m.turn_id as "turn_id?", m.role as "role?", m.body as "body?"
           from conversation c
           left join message m on m.conversation_id = c.conversation_id and m.superseded_by is null and m.body ~ '\S'
             and (m.turn_id = $3 or not exists (
               select from message refused
               where refused.turn_id = m.turn_id and refused.role = 'assistant' and refused.status in ('refused', 'filtered')
             ))
           where c.user_id = $1 and c.conversation_id = $2 and c.deleted_at is null
           order by m.message_id"#,
        Uuid::from(owner),
        Uuid::from(conversation),
        retry_of.map(Uuid::from),
    )
    .fetch_all(db)
    .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let messages = rows.into_iter().filter_map(|row| {
        Some(PromptMessage {
            message_id: row.message_id?.into(),
            turn_id: row.turn_id?.into(),
            role: if row.role? == Role::User.as_str() { Role::User } else { Role::Assistant },
            text: row.body?,
        })
    });
    Ok(Some(messages.collect()))
}

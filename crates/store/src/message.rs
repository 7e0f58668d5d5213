//! Messages of a conversation. They form a tree: siblings are versions of one question, or responses to the same question. The page shows
//! the path from the root to the conversation's leaf.

mod branch;
mod prompt;

pub use branch::{Located, is_version, locate, newest_leaf, select_branch};
pub use prompt::{Ancestors, PromptMessage, load_prompt};

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
    /// The message before it; `None` for the first one.
    pub parent_id: Option<MessageId>,
    /// The message and its siblings, oldest first: the versions of a question, or the responses to the same question.
    pub versions: Vec<MessageId>,
    /// Its HTML; `None` if it wasn't rendered yet.
    pub html: Option<StoredHtml>,
    /// The user's rating of the response; `None` if there is none.
    pub is_good: Option<bool>,
    /// Whether it is a response that was imported: no model here wrote it.
    pub is_imported: bool,
}

/// Where a list of messages ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathEnd {
    /// At the end of the visible path.
    Visible,
    /// At this message.
    At(MessageId),
    /// Before this message.
    Before(MessageId),
}

/// Lists the last `limit` messages of a path of a conversation, oldest first; responses include their turn's tokens and cost, and what was left
/// out of their prompt. Empty if the conversation doesn't have the path's end, doesn't exist or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    end: PathEnd,
    limit: i64,
) -> Result<Vec<StoredMessage>> {
    let (before, at) = match end {
        PathEnd::Visible => (None, None),
        PathEnd::At(message) => (None, Some(message)),
        PathEnd::Before(message) => (Some(message), None),
    };
    let rows = sqlx::query!(
        r#"with recursive path as (
             select m.message_id, m.parent_id, 1::bigint as position
             from conversation c join message m on m.conversation_id = c.conversation_id and m.message_id = case
               when $3::uuid is null then coalesce($5::uuid, c.leaf_id)
               else (select b.parent_id from message b where b.message_id = $3 and b.conversation_id = c.conversation_id)
             end
             where c.user_id = $1 and c.conversation_id = $2 and c.deleted_at is null
             union all
             select m.message_id, m.parent_id, path.position + 1 from path join message m on m.message_id = path.parent_id
             where path.position < $4
           )
           select m.message_id, m.parent_id, m.turn_id, m.role, m.body, m.reasoning, m.status, m.model, m.created_at, m.html, m.html_version,
                  array(
                    select s.message_id from message s where s.parent_id = m.parent_id and s.role = m.role
                    union all
                    select s.message_id from message s
                    where m.parent_id is null and s.parent_id is null and s.conversation_id = m.conversation_id and s.role = m.role
                    order by message_id
                  ) as "versions!: Vec<Uuid>",
                  t.history_cut as "history_cut?", m.role = 'assistant' and t.turn_id is null as "is_imported!", f.is_good as "is_good?", u.tokens::bigint as tokens, u.cost as cost
           from path join message m on m.message_id = path.message_id
           left join turn t on t.turn_id = m.turn_id and m.role = 'assistant'
           left join feedback f on f.turn_id = m.turn_id and m.role = 'assistant'
           left join lateral (
             select sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens) as tokens, sum(cost_usd) as cost
             from ai_usage where turn_id = m.turn_id
           ) u on m.role = 'assistant'
           order by path.position desc"#,
        Uuid::from(owner),
        Uuid::from(conversation),
        before.map(Uuid::from),
        limit,
        at.map(Uuid::from),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| StoredMessage {
            html: row.html.zip(row.html_version).map(|(html, version)| StoredHtml { html, version }),
            is_good: row.is_good,
            is_imported: row.is_imported,
            parent_id: row.parent_id.map(Into::into),
            versions: row.versions.into_iter().map(Into::into).collect(),
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

/// Finds the stored response of a turn. Returns `None` if there is none, or it belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn find_response(db: impl PgExecutor<'_>, owner: UserId, turn: TurnId) -> Result<Option<MessageId>> {
    let found = sqlx::query_scalar!(
        "select m.message_id from message m join conversation c using (conversation_id)
         where m.turn_id = $1 and m.role = 'assistant' and c.user_id = $2 and c.deleted_at is null",
        Uuid::from(turn),
        Uuid::from(owner),
    );
    Ok(found.fetch_optional(db).await?.map(Into::into))
}

/// Loads the text of a turn's stored response, as the model wrote it. Returns `None` if there is none, or it belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load_response(db: impl PgExecutor<'_>, owner: UserId, turn: TurnId) -> Result<Option<String>> {
    let text = sqlx::query_scalar!(
        "select m.body from message m join conversation c using (conversation_id)
         where m.turn_id = $1 and m.role = 'assistant' and c.user_id = $2 and c.deleted_at is null",
        Uuid::from(turn),
        Uuid::from(owner),
    );
    Ok(text.fetch_optional(db).await?)
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

/// Data of a turn that the page shows in addition to its events.
pub struct TurnHead {
    /// The question.
    pub question_id: MessageId,
    /// The message before the question; `None` for the first one.
    pub parent_id: Option<MessageId>,
    /// The question and its other versions, oldest first.
    pub versions: Vec<MessageId>,
    /// The stored responses to the question except for this turn's, oldest first.
    pub other_responses: Vec<MessageId>,
    /// The question's text.
    pub text: String,
    /// Its HTML; `None` if it wasn't rendered yet.
    pub html: Option<StoredHtml>,
    /// The model's display name; `None` if the model doesn't exist any more.
    pub label: Option<String>,
}

/// Loads the question of a turn with its place in the tree, and the display name of `model`, which answers. Returns `None` if the turn has no
/// question any more, or belongs to another user.
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
        r#"select m.message_id, m.parent_id, m.body, m.html, m.html_version, (select label from model where model = $3) as label,
                  array(
                    select s.message_id from message s where s.parent_id = m.parent_id and s.role = 'user'
                    union all
                    select s.message_id from message s
                    where m.parent_id is null and s.parent_id is null and s.conversation_id = m.conversation_id and s.role = 'user'
                    order by message_id
                  ) as "versions!: Vec<Uuid>",
                  array(
                    select a.message_id from message a where a.parent_id = m.message_id and a.role = 'assistant' and a.turn_id <> t.turn_id
                    order by a.message_id
                  ) as "other_responses!: Vec<Uuid>"
           from turn t join message m on m.message_id = t.question_id join conversation c on c.conversation_id = m.conversation_id
           where t.turn_id = $1 and c.user_id = $2 and c.deleted_at is null"#,
        Uuid::from(turn),
        Uuid::from(owner),
        model,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| TurnHead {
        question_id: row.message_id.into(),
        parent_id: row.parent_id.map(Into::into),
        versions: row.versions.into_iter().map(Into::into).collect(),
        other_responses: row.other_responses.into_iter().map(Into::into).collect(),
        text: row.body,
        html: row.html.zip(row.html_version).map(|(html, version)| StoredHtml { html, version }),
        label: row.label,
    }))
}

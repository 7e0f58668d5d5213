//! Messages as they are sent to a model: a path of the conversation's tree.

use crate::Result;
use domain::{ConversationId, MessageId, Role, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A message as it is sent to a model.
pub struct PromptMessage {
    /// Message id.
    pub message_id: MessageId,
    /// Its author: user or assistant.
    pub role: Role,
    /// The message text.
    pub text: String,
}

/// The path of a conversation's tree that comes before a new message.
pub struct Ancestors {
    /// The leaf of the visible path when this was read; `None` in an empty conversation.
    pub leaf_id: Option<MessageId>,
    /// The last message of the path with its author; `None` if the path is empty.
    pub end: Option<(MessageId, Role)>,
    /// Whether the message that was named as the end is a question with a response.
    pub has_response: bool,
    /// The messages to send, oldest first.
    pub messages: Vec<PromptMessage>,
}

/// Loads the path from the root to `end` for a prompt, or to the leaf of the visible path without it. Leaves out blank messages (responses
/// that were interrupted before their first token), and both messages of an exchange whose response the model or a content filter refused,
/// because sending them again would be refused again. Returns `None` if the conversation doesn't exist or belongs to another user. The path is
/// empty if `end` isn't a message of the conversation.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load_prompt(
    db: impl PgExecutor<'_>,
    owner: UserId,
    conversation: ConversationId,
    end: Option<MessageId>,
) -> Result<Option<Ancestors>> {
    let rows = sqlx::query!(
        r#"with recursive path as (
             select m.message_id, m.parent_id, m.role, m.status, 1 as position
             from conversation c join message m on m.conversation_id = c.conversation_id and m.message_id = coalesce($3, c.leaf_id)
             where c.user_id = $1 and c.conversation_id = $2
             union all
             select m.message_id, m.parent_id, m.role, m.status, path.position + 1 from path join message m on m.message_id = path.parent_id
           ), sent as (
             select path.message_id, path.position, path.role, m.body, m.body ~ '\S' and path.status not in ('refused', 'filtered')
                    and not exists (select from path r where r.parent_id = path.message_id and r.status in ('refused', 'filtered')) as is_sent
             from path join message m on m.message_id = path.message_id
           )
           select c.leaf_id, s.message_id as "message_id?", s.role as "role?", s.is_sent as "is_sent?",
                  case when s.is_sent then s.body end as text,
                  exists (select from message a where a.parent_id = $3 and a.role = 'assistant') as "has_response!"
           from conversation c left join sent s on true
           where c.user_id = $1 and c.conversation_id = $2 and c.deleted_at is null
           order by s.position desc"#,
        Uuid::from(owner),
        Uuid::from(conversation),
        end.map(Uuid::from),
    )
    .fetch_all(db)
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let leaf_id = first.leaf_id.map(Into::into);
    let mut path = Ancestors { leaf_id, end: None, has_response: first.has_response, messages: Vec::new() };
    for row in rows {
        let (Some(message_id), Some(role)) = (row.message_id, row.role) else { continue };
        let (message_id, role) =
            (message_id.into(), if role == Role::User.as_str() { Role::User } else { Role::Assistant });
        path.end = Some((message_id, role));
        path.messages.extend(row.text.map(|text| PromptMessage { message_id, role, text }));
    }
    Ok(Some(path))
}

//! Search in a user's titles and messages.

use crate::{Db, Result, Tx};
use domain::{ConversationId, MessageId, Role, SearchQuery, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

/// A conversation whose title was found.
pub struct FoundTitle {
    /// Conversation id.
    pub id: ConversationId,
    /// Its title.
    pub title: String,
    /// Time of its last message.
    pub updated_at: OffsetDateTime,
    /// Whether it is archived.
    pub is_archived: bool,
}

/// A message that was found.
pub struct FoundMessage {
    /// Message id.
    pub id: MessageId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// The conversation's title.
    pub title: String,
    /// Whether the conversation is archived.
    pub is_archived: bool,
    /// Its author.
    pub role: Role,
    /// The part of its text that is searched.
    pub text: String,
    /// When it was created.
    pub created_at: OffsetDateTime,
}

/// The results of a search.
pub struct Found {
    /// Conversations by their titles: those that contain the text come first, then similar ones.
    pub titles: Vec<FoundTitle>,
    /// Messages that contain all words, newest first.
    pub messages: Vec<FoundMessage>,
}

/// Searches a user's titles and messages, at most `titles` and `messages` of them. With `before`, only messages that are older than that one.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn find(
    db: &Db,
    owner: UserId,
    query: &SearchQuery,
    before: Option<MessageId>,
    (titles, messages): (i64, i64),
) -> Result<Found> {
    let mut tx = crate::begin(db).await?;
    // Planned for each search, because the best plan depends on how often its words occur: a generic one would read every message of the user
    // for a rare word, or sort thousands for a frequent one. No plan reads other users' rows, and compiling such short queries would take longer
    // than running them.
    sqlx::query!(
        "select set_config('plan_cache_mode', 'force_custom_plan', true) as plans, set_config('enable_seqscan', 'off', true) as scans,
                set_config('jit', 'off', true) as jit"
    )
        .fetch_one(&mut tx)
        .await?;
    let titles = match before {
        None => find_titles(&mut tx, owner, query, titles).await?,
        Some(_) => Vec::new(),
    };
    let messages = find_messages(&mut tx, owner, query, before, messages).await?;
    tx.commit().await?;
    Ok(Found { titles, messages })
}

async fn find_titles(tx: &mut Tx, owner: UserId, query: &SearchQuery, limit: i64) -> Result<Vec<FoundTitle>> {
    let rows = sqlx::query!(
        // Comparing spellings is slow, so a text that is similar to most of the titles is compared with some of them only.
        r#"select c.conversation_id, c.title, c.updated_at, c.archived_at is not null as "is_archived!"
           from (
             select conversation_id, 2 as rank from title_search where user_id = $1 and title ilike $2
             union all
             select conversation_id, word_similarity($3, title)
             from (select conversation_id, title from title_search where user_id = $1 and $3 <% title limit 200) similar_title
             where not title ilike $2
           ) f
           join conversation c using (conversation_id)
           where c.user_id = $1 and c.deleted_at is null and not c.is_temporary
           order by f.rank desc, c.updated_at desc limit $4"#,
        Uuid::from(owner),
        query.to_pattern(),
        query.text(),
        limit,
    )
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| FoundTitle {
            id: row.conversation_id.into(),
            title: row.title,
            updated_at: row.updated_at,
            is_archived: row.is_archived,
        })
        .collect())
}

async fn find_messages(
    tx: &mut Tx,
    owner: UserId,
    query: &SearchQuery,
    before: Option<MessageId>,
    limit: i64,
) -> Result<Vec<FoundMessage>> {
    let rows = sqlx::query!(
        r#"select f.message_id, f.conversation_id, f.title, f.is_archived as "is_archived!", m.role, left(m.body, 16384) as "text!",
                  m.created_at
           from (
             select s.message_id, s.conversation_id, c.title, c.archived_at is not null as is_archived
             from message_search s join conversation c using (conversation_id)
             where s.user_id = $1 and c.user_id = $1 and c.deleted_at is null and not c.is_temporary and s.words @@ to_tsquery('simple', $2) and s.message_id < $3
             order by s.message_id desc limit $4
           ) f
           join message m using (message_id)
           order by f.message_id desc"#,
        Uuid::from(owner),
        query.to_tsquery(),
        before.map_or(Uuid::max(), Uuid::from),
        limit,
    )
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| FoundMessage {
            id: row.message_id.into(),
            conversation_id: row.conversation_id.into(),
            title: row.title,
            is_archived: row.is_archived,
            role: if row.role == Role::User.as_str() { Role::User } else { Role::Assistant },
            text: row.text,
            created_at: row.created_at,
        })
        .collect())
}

//! Search results.

use domain::search::Piece;
use domain::{ConversationId, MessageId, Role};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The results of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchView {
    /// The query, as it was typed.
    pub text: String,
    /// Conversations whose titles match.
    pub titles: Vec<FoundTitle>,
    /// Messages that match, newest first.
    pub messages: Vec<FoundMessage>,
    /// The last message, if there are older ones.
    pub next: Option<MessageId>,
    /// Whether the results are older ones, after the first page.
    pub is_later: bool,
}

/// A conversation whose title matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundTitle {
    /// The conversation.
    pub id: ConversationId,
    /// Its title.
    pub title: Vec<Piece>,
    /// Time of its last message.
    pub updated_at: OffsetDateTime,
    /// Whether it is archived.
    pub is_archived: bool,
}

/// A message that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundMessage {
    /// The message.
    pub id: MessageId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// The conversation's title.
    pub title: String,
    /// Whether the conversation is archived.
    pub is_archived: bool,
    /// Its author.
    pub role: Role,
    /// The part of its text around the first match.
    pub excerpt: Vec<Piece>,
    /// When it was written.
    pub created_at: OffsetDateTime,
}

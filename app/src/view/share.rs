//! Shared links.

use domain::{ConversationId, ShareId, SharedMessage};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A link that was just created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedShare {
    /// Its id, by which it is revoked.
    pub share_id: ShareId,
    /// Its address.
    pub url: String,
    /// The conversation's title.
    pub title: String,
    /// When it ends; `None` is never.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
}

/// The copy of a conversation that a link leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareView {
    /// The conversation's title.
    pub title: String,
    /// When it was copied.
    pub created_at: OffsetDateTime,
    /// The messages, oldest first.
    pub messages: Vec<SharedMessage>,
}

/// A user's links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharesView {
    /// The time at which they were loaded.
    pub now: OffsetDateTime,
    /// The links, newest first.
    pub shares: Vec<ShareRow>,
}

/// A link in its user's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRow {
    /// Its id.
    pub share_id: ShareId,
    /// The conversation that was copied.
    pub conversation_id: ConversationId,
    /// The conversation's title when it was copied.
    pub title: String,
    /// When the link was created.
    pub created_at: OffsetDateTime,
    /// When it ends; `None` is never.
    pub expires_at: Option<OffsetDateTime>,
}

//! Conversations as this app exports them (`docs/conversations.md`).

use super::text::{lenient, with_files};
use super::tree::{Content, Draft, Node};
use crate::accounts::export::{FORMAT, VERSION};
use domain::{ConversationId, MessageStatus, Role};
use serde::Deserialize;
use time::OffsetDateTime;

#[derive(Deserialize)]
struct Conversation {
    format: String,
    version: u32,
    conversation_id: ConversationId,
    #[serde(default, deserialize_with = "lenient")]
    title: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
    #[serde(default, deserialize_with = "lenient")]
    leaf_id: Option<String>,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    message_id: String,
    #[serde(default)]
    parent_id: Option<String>,
    role: Role,
    text: String,
    #[serde(default, deserialize_with = "lenient")]
    reasoning: String,
    #[serde(default, deserialize_with = "lenient")]
    status: String,
    #[serde(default, deserialize_with = "lenient")]
    model: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    files: Vec<File>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

#[derive(Deserialize)]
struct File {
    name: String,
}

/// Parses a conversation. Returns `None` if it isn't one of this format and version.
pub(super) fn parse(json: &str) -> Option<Draft> {
    let found: Conversation = serde_json::from_str(json).ok()?;
    if found.format != FORMAT || found.version != VERSION {
        return None;
    }
    let nodes = found.messages.into_iter().map(|message| Node {
        content: Some(Content {
            role: message.role,
            text: with_files(message.text, message.files.into_iter().map(|file| file.name)),
            reasoning: message.reasoning,
            status: if message.status.is_empty() {
                MessageStatus::Finished
            } else {
                MessageStatus::from_db(&message.status)
            },
            model: message.model,
            created_at: Some(message.created_at),
        }),
        id: message.message_id,
        parent: message.parent_id,
    });
    Some(Draft {
        format: FORMAT,
        id: found.conversation_id.to_string(),
        exported_id: Some(found.conversation_id),
        title: found.title,
        created_at: Some(found.created_at),
        updated_at: Some(found.updated_at),
        nodes: nodes.collect(),
        current: found.leaf_id,
    })
}

//! Conversations as Claude exports them: `conversations.json`, an array of conversations with `chat_messages`. A message names the one before
//! it in `parent_message_uuid`; older exports have one path, in order.

use super::text::{fenced, lenient, with_files};
use super::tree::{Content, Draft, Node};
use domain::{MessageStatus, Role};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Deserialize)]
struct Conversation {
    chat_messages: Vec<Message>,
    #[serde(default, deserialize_with = "lenient")]
    uuid: String,
    #[serde(default, deserialize_with = "lenient")]
    name: String,
    #[serde(default, deserialize_with = "lenient")]
    created_at: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    updated_at: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    model: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    current_leaf_message_uuid: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default, deserialize_with = "lenient")]
    uuid: String,
    #[serde(default, deserialize_with = "lenient")]
    sender: String,
    #[serde(default, deserialize_with = "lenient")]
    text: String,
    #[serde(default, deserialize_with = "lenient")]
    content: Vec<Block>,
    #[serde(default, deserialize_with = "lenient")]
    created_at: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    attachments: Vec<File>,
    #[serde(default, deserialize_with = "lenient")]
    files: Vec<File>,
    #[serde(default, deserialize_with = "lenient")]
    parent_message_uuid: Option<String>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    kind: String,
    #[serde(default, deserialize_with = "lenient")]
    text: String,
    #[serde(default, deserialize_with = "lenient")]
    thinking: String,
}

#[derive(Deserialize)]
struct File {
    #[serde(default, deserialize_with = "lenient")]
    file_name: String,
    #[serde(default, deserialize_with = "lenient")]
    extracted_content: String,
}

/// Parses a conversation. Returns `None` if it isn't one of this format.
pub(super) fn parse(json: &str) -> Option<Draft> {
    let found: Conversation = serde_json::from_str(json).ok()?;
    let is_tree = found.chat_messages.iter().any(|message| message.parent_message_uuid.is_some());
    let (mut nodes, mut before): (Vec<Node>, Option<String>) = (Vec::new(), None);
    for (index, message) in found.chat_messages.into_iter().enumerate() {
        let id = if message.uuid.is_empty() { index.to_string() } else { message.uuid.clone() };
        let parent = if is_tree { message.parent_message_uuid.clone() } else { before.replace(id.clone()) };
        nodes.push(Node { id, parent, content: content(message, found.model.as_deref()) });
    }
    let last = nodes.last().map(|node| node.id.clone());
    Some(Draft {
        format: "claude",
        id: found.uuid,
        exported_id: None,
        title: found.name,
        created_at: found.created_at.and_then(|at| instant(&at)),
        updated_at: found.updated_at.and_then(|at| instant(&at)),
        nodes,
        current: found.current_leaf_message_uuid.or(last),
    })
}

fn instant(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

fn content(message: Message, model: Option<&str>) -> Option<Content> {
    let role = match message.sender.as_str() {
        "human" | "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return None,
    };
    let joined =
        |texts: Vec<&str>| texts.into_iter().filter(|text| !text.trim().is_empty()).collect::<Vec<_>>().join("\n\n");
    let of_kind = |kind: &'static str| message.content.iter().filter(move |block| block.kind == kind);
    let mut text = joined(of_kind("text").map(|block| block.text.as_str()).collect());
    if text.is_empty() && message.content.is_empty() {
        text = message.text;
    }
    let reasoning = joined(of_kind("thinking").map(|block| block.thinking.as_str()).collect());
    let mut names: Vec<String> = message.files.into_iter().map(|file| file.file_name).collect();
    for file in message.attachments {
        if file.extracted_content.trim().is_empty() {
            names.push(file.file_name);
            continue;
        }
        // A pasted text is an attachment without a name.
        let name = if file.file_name.is_empty() { "Pasted text" } else { &file.file_name };
        let block = fenced("", &file.extracted_content);
        text.push_str(&format!("{}{name}:\n\n{block}", if text.is_empty() { "" } else { "\n\n" }));
    }
    Some(Content {
        role,
        text: with_files(text, names.into_iter()),
        reasoning,
        status: MessageStatus::Finished,
        model: model.map(str::to_owned),
        created_at: message.created_at.and_then(|at| instant(&at)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::finish;
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-27 12:00 UTC);

    #[test]
    fn a_conversation_with_thinking_files_and_branches_is_read() {
        let json = r#"{"uuid": "c", "name": "Leases", "created_at": "2026-03-29T07:06:35.552627Z", "updated_at": "2026-03-29T08:00:00Z",
          "chat_messages": [
            {"uuid": "q", "sender": "human", "text": "Read this", "content": [{"type": "text", "text": "Read this"}],
             "attachments": [{"file_name": "lease.txt", "extracted_content": "Clause 14"}], "files": [{"file_name": "plan.png"}],
             "parent_message_uuid": "00000000-0000-4000-8000-000000000000"},
            {"uuid": "a", "sender": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "One"},
             {"type": "tool_use", "name": "x", "input": {}}, {"type": "text", "text": "two"}], "parent_message_uuid": "q"},
            {"uuid": "b", "sender": "assistant", "content": [{"type": "text", "text": "Other"}], "parent_message_uuid": "q"}
          ]}"#;
        let found = finish(parse(json).unwrap(), NOW).unwrap();
        let texts: Vec<_> = found.messages.iter().map(|one| (one.text.as_str(), one.reasoning.as_str())).collect();
        let question = "Read this\n\nlease.txt:\n\n```\nClause 14\n```\n\n[File: plan.png]";
        assert_eq!(texts, [(question, ""), ("One\n\ntwo", "Hm."), ("Other", "")]);
        assert_eq!((found.title.as_str(), found.leaf_id), ("Leases", found.messages[2].id));
        assert_eq!(found.messages[1].parent_id, Some(found.messages[0].id));
    }

    #[test]
    fn an_older_export_is_one_path() {
        let json = r#"{"uuid": "c", "name": "", "chat_messages": [
            {"uuid": "1", "sender": "human", "text": "Hello **you**"}, {"uuid": "2", "sender": "assistant", "text": "Hi"},
            {"uuid": "3", "sender": "human", "text": "Bye"}]}"#;
        let found = finish(parse(json).unwrap(), NOW).unwrap();
        let parents: Vec<_> = found.messages.iter().map(|one| one.parent_id).collect();
        assert_eq!(parents, [None, Some(found.messages[0].id), Some(found.messages[1].id)]);
        assert_eq!((found.title.as_str(), found.updated_at), ("Hello you", NOW));
    }
}

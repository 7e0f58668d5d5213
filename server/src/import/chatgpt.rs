//! Conversations as ChatGPT exports them: `conversations.json`, an array of trees. Each has `mapping`, whose nodes name their parents;
//! `current_node` is the end of the visible path. Messages of the system and of tools are steps that aren't shown.

use super::text::{fenced, lenient, with_files};
use super::tree::{Content, Draft, Node};
use domain::{MessageStatus, Role};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use time::OffsetDateTime;

#[derive(Deserialize)]
struct Conversation {
    mapping: HashMap<String, MappedNode>,
    #[serde(default, deserialize_with = "lenient")]
    title: String,
    #[serde(default, deserialize_with = "lenient")]
    current_node: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    create_time: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    update_time: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    conversation_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    default_model_slug: Option<String>,
}

#[derive(Deserialize)]
struct MappedNode {
    #[serde(default, deserialize_with = "lenient")]
    parent: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    author: Author,
    #[serde(default, deserialize_with = "lenient")]
    create_time: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    content: Option<MessageContent>,
    #[serde(default, deserialize_with = "lenient")]
    recipient: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Author {
    #[serde(default, deserialize_with = "lenient")]
    role: String,
}

#[derive(Deserialize)]
struct MessageContent {
    #[serde(default, deserialize_with = "lenient")]
    content_type: String,
    #[serde(default, deserialize_with = "lenient")]
    parts: Vec<Value>,
    #[serde(default, deserialize_with = "lenient")]
    text: String,
    #[serde(default, deserialize_with = "lenient")]
    language: String,
    #[serde(default, deserialize_with = "lenient")]
    thoughts: Vec<Thought>,
}

#[derive(Deserialize)]
struct Thought {
    #[serde(default, deserialize_with = "lenient")]
    content: String,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default, deserialize_with = "lenient")]
    is_visually_hidden_from_conversation: bool,
    #[serde(default, deserialize_with = "lenient")]
    model_slug: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    attachments: Vec<Attachment>,
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(default, deserialize_with = "lenient")]
    name: String,
}

/// Parses a conversation. Returns `None` if it isn't one of this format.
pub(super) fn parse(json: &str) -> Option<Draft> {
    let found: Conversation = serde_json::from_str(json).ok()?;
    let model = found.default_model_slug;
    let time_of = |node: &MappedNode| node.message.as_ref().and_then(|message| message.create_time).unwrap_or_default();
    let mut mapped: Vec<(String, MappedNode)> = found.mapping.into_iter().collect();
    // Regenerated and edited messages are siblings, in the order of their times.
    mapped.sort_by(|(a_id, a), (b_id, b)| time_of(a).total_cmp(&time_of(b)).then_with(|| a_id.cmp(b_id)));
    let nodes = mapped.into_iter().map(|(id, node)| Node {
        id,
        parent: node.parent,
        content: node.message.and_then(|message| content(message, model.as_deref())),
    });
    Some(Draft {
        format: "chatgpt",
        id: found.conversation_id.or(found.id).unwrap_or_default(),
        exported_id: None,
        title: found.title,
        created_at: found.create_time.and_then(instant),
        updated_at: found.update_time.and_then(instant),
        nodes: nodes.collect(),
        current: found.current_node,
    })
}

/// Returns the time of a number of seconds since 1970.
fn instant(seconds: f64) -> Option<OffsetDateTime> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast from a float saturates, and times out of range are none"
    )]
    let ms = (seconds * 1_000.0) as i64;
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()
}

/// Returns what is shown of a message; `None` for one that isn't shown.
fn content(message: Message, model: Option<&str>) -> Option<Content> {
    let role = match message.author.role.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return None,
    };
    // A recipient other than all is a tool.
    let is_call = message.recipient.as_deref().is_some_and(|recipient| recipient != "all");
    if is_call || message.metadata.is_visually_hidden_from_conversation {
        return None;
    }
    let content = message.content?;
    let (mut text, mut reasoning) = (String::new(), String::new());
    match content.content_type.as_str() {
        "text" | "multimodal_text" => text = without_citations(&parts(&content.parts)),
        "code" => text = fenced(&content.language.replace("unknown", ""), &content.text),
        "thoughts" => {
            let thoughts: Vec<String> = content.thoughts.into_iter().map(|thought| thought.content).collect();
            reasoning = thoughts.join("\n\n");
        }
        _ => return None,
    }
    let files = message.metadata.attachments.into_iter().map(|file| file.name);
    Some(Content {
        role,
        text: with_files(text, files),
        reasoning,
        status: MessageStatus::Finished,
        model: message.metadata.model_slug.or_else(|| model.map(str::to_owned)),
        created_at: message.create_time.and_then(instant),
    })
}

/// Joins the parts of a message: texts, transcripts of speech, and a note for each picture.
fn parts(parts: &[Value]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => match fields.get("content_type").and_then(Value::as_str) {
            Some("image_asset_pointer") => Some("[Image]".to_owned()),
            _ => fields.get("text").and_then(Value::as_str).map(str::to_owned),
        },
        _ => None,
    });
    texts.filter(|text| !text.trim().is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// Removes the marks of citations, which only ChatGPT's own page can resolve: from U+E200 to U+E201.
fn without_citations(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, mark)) = rest.split_once('\u{e200}') {
        plain.push_str(before);
        // Without an end, the rest is text.
        rest = mark.split_once('\u{e201}').map_or(mark, |(_, after)| after);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::super::tree::finish;
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_conversation_with_tools_thoughts_and_branches_is_read() {
        let json = r#"{
          "title": "Boats", "create_time": 1700000000.25, "update_time": 1700000100, "conversation_id": "c", "current_node": "a3",
          "default_model_slug": "gpt-5", "mapping": {
            "root": {"id": "root", "message": null, "parent": null, "children": ["s"]},
            "s": {"parent": "root", "message": {"author": {"role": "system"}, "content": {"content_type": "text", "parts": [""]},
                  "metadata": {"is_visually_hidden_from_conversation": true}}},
            "q": {"parent": "s", "message": {"author": {"role": "user"}, "create_time": 1700000001,
                  "content": {"content_type": "multimodal_text", "parts": [{"content_type": "image_asset_pointer"}, "Which boat?"]},
                  "metadata": {"attachments": [{"name": "boat.png"}]}}},
            "t": {"parent": "q", "message": {"author": {"role": "assistant"}, "create_time": 1700000002,
                  "content": {"content_type": "thoughts", "thoughts": [{"summary": "s", "content": "A hull."}]}}},
            "call": {"parent": "t", "message": {"author": {"role": "assistant"}, "recipient": "python", "create_time": 1700000003,
                  "content": {"content_type": "code", "language": "python", "text": "1"}}},
            "tool": {"parent": "call", "message": {"author": {"role": "tool"}, "create_time": 1700000004,
                  "content": {"content_type": "execution_output", "text": "1"}}},
            "a1": {"parent": "tool", "message": {"author": {"role": "assistant"}, "recipient": "all", "create_time": 1700000005,
                  "content": {"content_type": "text", "parts": ["A dinghy\ue200cite\ue202turn0\ue201."]}, "metadata": {"model_slug": "gpt-5-mini"}}},
            "a3": {"parent": "q", "message": {"author": {"role": "assistant"}, "create_time": 1700000009,
                  "content": {"content_type": "text", "parts": ["A sloop."]}, "metadata": 7}}
          }}"#;
        let found = finish(parse(json).unwrap(), datetime!(2026-11-27 12:00 UTC)).unwrap();
        let messages: Vec<_> = found.messages.iter().map(|one| (one.text.as_str(), one.reasoning.as_str())).collect();
        assert_eq!(
            messages,
            [("[Image]\n\nWhich boat?\n\n[File: boat.png]", ""), ("A dinghy.", "A hull."), ("A sloop.", "")]
        );
        let models: Vec<_> = found.messages.iter().map(|one| one.model.as_deref()).collect();
        assert_eq!(models, [None, Some("gpt-5-mini"), Some("gpt-5")]);
        assert_eq!((found.title.as_str(), found.leaf_id), ("Boats", found.messages[2].id));
        assert!(found.messages.iter().skip(1).all(|one| one.parent_id == Some(found.messages[0].id)));
        assert_eq!(found.created_at, datetime!(2023-11-14 22:13:20.25 UTC));
        assert!(parse(r#"{"title": "x"}"#).is_none() && parse("7").is_none());
    }

    #[test]
    fn times_out_of_range_are_none() {
        for seconds in [f64::NAN, f64::INFINITY, 1e300] {
            assert!(instant(seconds).is_none_or(|at| at == OffsetDateTime::UNIX_EPOCH), "{seconds}");
        }
    }
}

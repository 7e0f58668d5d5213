//! Turns the messages of an export into a tree of this app: users' messages and responses, without other data of an export. A response that
//! an export splits, such as around the calls of a tool, becomes one message.

use domain::{ConversationId, MessageId, MessageStatus, Role, TurnId};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use store::import::{ImportedConversation, ImportedMessage};
use time::{Duration, OffsetDateTime};

/// Maximum length of a title in characters.
const MAX_TITLE: usize = 80;
/// Maximum length of a model's name in characters.
const MAX_MODEL: usize = 100;
/// Maximum size of the text of a conversation, when parts of it are repeated in its branches.
const MAX_TEXT: usize = 32 * 1024 * 1024;

/// A conversation as an export has it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The name of the export's format.
    pub format: &'static str,
    /// The id that the conversation has in the export.
    pub id: String,
    /// The same, if the export is of an app like this one.
    pub exported_id: Option<ConversationId>,
    /// Title; may be empty.
    pub title: String,
    /// When it was started.
    pub created_at: Option<OffsetDateTime>,
    /// Time of the last message.
    pub updated_at: Option<OffsetDateTime>,
    /// Its messages. Siblings are in their order.
    pub nodes: Vec<Node>,
    /// The last message of the visible path.
    pub current: Option<String>,
}

/// A message, or a step that isn't shown, whose children then follow its parent.
#[derive(Debug)]
pub(super) struct Node {
    /// Its id in the export.
    pub id: String,
    /// The node before it.
    pub parent: Option<String>,
    /// What is shown of it, if anything.
    pub content: Option<Content>,
}

/// What is shown of a message.
#[derive(Clone, Debug)]
pub(super) struct Content {
    /// The author.
    pub role: Role,
    /// The text, in Markdown.
    pub text: String,
    /// The model's reasoning.
    pub reasoning: String,
    /// How complete it is.
    pub status: MessageStatus,
    /// The model that responded.
    pub model: Option<String>,
    /// When it was written.
    pub created_at: Option<OffsetDateTime>,
}

/// A message of the result, whose parent is an index.
#[derive(Clone)]
struct Placed {
    content: Content,
    parent: Option<usize>,
    /// Whether it is repeated at the start of responses that continue it in several ways.
    is_continued: bool,
    has_reply: bool,
}

/// Where the children of a node belong.
#[derive(Clone, Copy, Default)]
struct ChildPosition {
    message: Option<usize>,
    /// Whether nothing else follows that message.
    is_only: bool,
}

/// Builds the conversation that is written. Returns `None` if it has no messages or its branches are too large.
pub(super) fn finish(draft: Draft, now: OffsetDateTime) -> Option<ImportedConversation> {
    let Draft { format, id, exported_id, title, created_at, updated_at, nodes, current } = draft;
    let (placed, place_of) = place(&nodes)?;
    let (kept, index_of) = without_empty(placed);
    let last = current.and_then(|id| nodes.iter().position(|node| node.id == id));
    let last = last.and_then(|node| index_of.get(place_of.get(node)?.message?).copied().flatten());
    let leaf = end_of_path(&kept, last)?;

    let first_time = kept.iter().find_map(|message| message.content.created_at);
    let started = clamped(created_at.or(first_time).unwrap_or(now), OffsetDateTime::UNIX_EPOCH, now);
    let hash = hash(format, &id, &kept);
    let title = Some(plain(&title)).filter(|title| !title.is_empty()).unwrap_or_else(|| title_of(&kept));
    let messages = identified(kept, started, now);
    let ended = messages.iter().map(|message| message.created_at).max().unwrap_or(started);
    Some(ImportedConversation {
        id: ConversationId::at(started),
        exported_id,
        hash,
        title,
        leaf_id: messages.get(leaf)?.id,
        messages,
        created_at: started,
        updated_at: clamped(updated_at.unwrap_or(ended), started, now),
    })
}

/// Places the nodes that are shown, each after its parent, and returns where the children of every node belong. Nodes that no path from a
/// first node leads to are left out.
fn place(nodes: &[Node]) -> Option<(Vec<Placed>, Vec<ChildPosition>)> {
    let mut by_id: HashMap<&str, usize> = HashMap::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        by_id.entry(&node.id).or_insert(index);
    }
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut waiting = Vec::new();
    for (index, node) in nodes.iter().enumerate().rev() {
        match node.parent.as_deref().and_then(|parent| by_id.get(parent)) {
            Some(parent) => children.get_mut(*parent)?.push(index),
            None => waiting.push(index),
        }
    }
    let (mut placed, mut places) = (Vec::new(), vec![ChildPosition::default(); nodes.len()]);
    let mut bytes = 0_usize;
    while let Some(index) = waiting.pop() {
        let (node, followers) = (nodes.get(index)?, children.get(index)?);
        let before = node.parent.as_deref().and_then(|parent| by_id.get(parent)).and_then(|parent| places.get(*parent));
        let mut at = before.copied().unwrap_or_default();
        at.is_only &= followers.len() == 1;
        if let Some(content) = &node.content {
            bytes = bytes.checked_add(content.text.len() + content.reasoning.len())?;
            let before = before.copied().unwrap_or_default();
            let message = add(&mut placed, content.clone(), before, &mut bytes);
            at = ChildPosition { message: Some(message), is_only: followers.len() == 1 };
        }
        if bytes > MAX_TEXT {
            return None;
        }
        *places.get_mut(index)? = at;
        waiting.extend(followers);
    }
    Some((placed, places))
}

/// Adds a message after `before`, or to it if both are parts of one response. Returns its index.
fn add(placed: &mut Vec<Placed>, content: Content, before: ChildPosition, bytes: &mut usize) -> usize {
    let new = placed.len();
    let parent = before.message.and_then(|index| Some((index, placed.get_mut(index)?)));
    let (content, parent) = match parent {
        Some((index, first)) if first.content.role == Role::Assistant && content.role == Role::Assistant => {
            if before.is_only {
                join(&mut first.content, content);
                return index;
            }
            first.is_continued = true;
            let mut whole = first.content.clone();
            *bytes = bytes.saturating_add(whole.text.len() + whole.reasoning.len());
            join(&mut whole, content);
            (whole, first.parent)
        }
        Some((index, first)) => {
            first.has_reply = true;
            (content, Some(index))
        }
        None => (content, None),
    };
    placed.push(Placed { content, parent, is_continued: false, has_reply: false });
    new
}

/// Appends the next part of a response.
fn join(first: &mut Content, next: Content) {
    for (text, more) in [(&mut first.text, next.text), (&mut first.reasoning, next.reasoning)] {
        if !text.trim().is_empty() && !more.trim().is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(&more);
    }
    first.status = next.status;
    first.model = next.model.or(first.model.take());
}

/// Leaves out messages without text, and parts that are repeated in all responses that continue them. Returns the new index of each message,
/// or that of the message before one that was left out.
fn without_empty(placed: Vec<Placed>) -> (Vec<Placed>, Vec<Option<usize>>) {
    let (mut kept, mut index_of): (Vec<Placed>, Vec<Option<usize>>) = (Vec::new(), Vec::new());
    for mut message in placed {
        message.parent = message.parent.and_then(|parent| index_of.get(parent).copied().flatten());
        let is_part = message.is_continued && !message.has_reply;
        if is_part || message.content.text.trim().is_empty() {
            index_of.push(message.parent);
            continue;
        }
        index_of.push(Some(kept.len()));
        kept.push(message);
    }
    (kept, index_of)
}

/// Returns the end of the path through `message`, or through the last message if there is none: the last child of each message.
fn end_of_path(kept: &[Placed], message: Option<usize>) -> Option<usize> {
    let mut last_child: Vec<Option<usize>> = vec![None; kept.len()];
    for (index, next) in kept.iter().enumerate() {
        if let Some(parent) = next.parent {
            *last_child.get_mut(parent)? = Some(index);
        }
    }
    let mut end = message.or(kept.len().checked_sub(1))?;
    while let Some(next) = last_child.get(end).copied().flatten() {
        end = next;
    }
    Some(end)
}

fn clamped(at: OffsetDateTime, from: OffsetDateTime, to: OffsetDateTime) -> OffsetDateTime {
    at.max(from).min(to.max(from))
}

/// Returns a text on one line, without characters that can't be stored, of at most [`MAX_TITLE`] characters.
fn plain(title: &str) -> String {
    let words = title.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(MAX_TITLE).collect()
}

fn title_of(kept: &[Placed]) -> String {
    let first = kept.first().map(|message| message.content.text.as_str()).unwrap_or_default();
    let title = std::panic::catch_unwind(|| markdown::plain_title(first)).unwrap_or_default();
    if title.is_empty() { "Imported conversation".to_owned() } else { title }
}

/// Hashes what identifies the content of a conversation.
fn hash(format: &str, id: &str, kept: &[Placed]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text);
    };
    add(format);
    add(id);
    for message in kept {
        add(message.content.role.as_str());
        add(&message.parent.map(|parent| parent.to_string()).unwrap_or_default());
        add(&message.content.text);
    }
    hash.finalize().into()
}

/// Gives the messages new ids, which sort in their order, and turns: a question and its first response share one.
fn identified(kept: Vec<Placed>, started: OffsetDateTime, now: OffsetDateTime) -> Vec<ImportedMessage> {
    let (mut messages, mut open): (Vec<ImportedMessage>, Vec<Option<TurnId>>) = (Vec::new(), Vec::new());
    let mut id_at = started;
    for Placed { content, parent, .. } in kept {
        let before = parent.and_then(|parent| messages.get(parent));
        let earliest = before.map_or(started, |before| before.created_at);
        let created_at = clamped(content.created_at.unwrap_or(earliest), OffsetDateTime::UNIX_EPOCH, now);
        id_at = created_at.max(id_at + Duration::MILLISECOND);
        let question_turn =
            parent.filter(|_| content.role == Role::Assistant).and_then(|parent| open.get_mut(parent)?.take());
        let turn_id = question_turn.unwrap_or_else(|| TurnId::at(created_at));
        open.push((content.role == Role::User).then_some(turn_id));
        let is_response = content.role == Role::Assistant;
        messages.push(ImportedMessage {
            id: MessageId::at(id_at),
            parent_id: before.map(|before| before.id),
            turn_id,
            role: content.role,
            text: stored(&content.text),
            reasoning: stored(&content.reasoning),
            status: content.status,
            model: content.model.filter(|_| is_response).map(|model| stored(&model).chars().take(MAX_MODEL).collect()),
            created_at,
        });
    }
    messages
}

/// Returns a text without NUL, which Postgres can't store.
fn stored(text: &str) -> String {
    text.replace('\0', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-27 12:00 UTC);

    fn node(id: &str, parent: &str, role: Option<Role>, text: &str) -> Node {
        let content = role.map(|role| Content {
            role,
            text: text.to_owned(),
            reasoning: String::new(),
            status: MessageStatus::Finished,
            model: Some("m".to_owned()),
            created_at: None,
        });
        Node { id: id.to_owned(), parent: Some(parent.to_owned()), content }
    }

    fn built(nodes: Vec<Node>, current: Option<&str>) -> Option<ImportedConversation> {
        finish(Draft { nodes, current: current.map(str::to_owned), ..Draft::default() }, NOW)
    }

    /// Returns each message as its parent's text and its own.
    fn pairs(found: &ImportedConversation) -> Vec<(String, String)> {
        let text = |id: Option<MessageId>| {
            found.messages.iter().find(|message| Some(message.id) == id).map(|found| found.text.clone())
        };
        found.messages.iter().map(|one| (text(one.parent_id).unwrap_or_default(), one.text.clone())).collect()
    }

    fn leaf(found: &ImportedConversation) -> &str {
        &found.messages.iter().find(|message| message.id == found.leaf_id).unwrap().text
    }

    #[test]
    fn steps_between_messages_are_left_out_and_parts_of_a_response_joined() {
        let (user, assistant) = (Some(Role::User), Some(Role::Assistant));
        let nodes = vec![
            node("root", "", None, ""),
            node("q", "root", user, "Q"),
            node("a1", "q", assistant, "Let me look."),
            node("tool", "a1", None, ""),
            node("a2", "tool", assistant, "Found it."),
            node("q2", "a2", user, "Q2"),
            node("b", "q2", assistant, "Old"),
            node("c", "q2", assistant, "New"),
        ];
        let found = built(nodes, Some("b")).unwrap();
        let whole = "Let me look.\n\nFound it.";
        let expected = [("", "Q"), ("Q", whole), (whole, "Q2"), ("Q2", "Old"), ("Q2", "New")];
        assert_eq!(pairs(&found), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!((leaf(&found), found.title.as_str()), ("Old", "Q"));
        assert!(found.messages.is_sorted_by_key(|message| message.id));
        let turns: Vec<TurnId> = found.messages.iter().map(|message| message.turn_id).collect();
        assert!(turns[0] == turns[1] && turns[2] == turns[3] && turns[3] != turns[4]);
    }

    #[test]
    fn a_response_that_is_continued_in_two_ways_becomes_two() {
        let (user, assistant) = (Some(Role::User), Some(Role::Assistant));
        let nodes = vec![
            node("q", "", user, "Q"),
            node("a", "q", assistant, "Start"),
            node("b", "a", assistant, "one"),
            node("c", "a", assistant, "two"),
        ];
        let found = built(nodes, Some("c")).unwrap();
        assert_eq!(
            pairs(&found)[1..].iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
            ["Start\n\none", "Start\n\ntwo"]
        );
        assert_eq!(leaf(&found), "Start\n\ntwo");
    }

    #[test]
    fn the_same_content_has_the_same_hash() {
        let one = |text: &str| built(vec![node("q", "", Some(Role::User), text)], None).unwrap().hash;
        assert_eq!(one("a"), one("a"));
        assert_ne!(one("a"), one("b"));
        assert!(built(vec![node("q", "", Some(Role::User), " \n")], None).is_none());
    }

    proptest! {
        /// Whatever the parents are, cycles and unknown ones included, each message follows its parent, in time and by id.
        #[test]
        fn any_nodes_make_a_tree(
            parents in proptest::collection::vec((0_usize..30, 0_u8..4, any::<bool>()), 0..30),
            current in 0_usize..30,
        ) {
            let nodes = parents.iter().enumerate().map(|(index, (parent, kind, is_empty))| {
                let role = match kind { 0 => None, 1 => Some(Role::User), _ => Some(Role::Assistant) };
                node(&index.to_string(), &parent.to_string(), role, if *is_empty { "" } else { "text" })
            });
            if let Some(found) = built(nodes.collect(), Some(&current.to_string())) {
                let mut seen = std::collections::HashSet::new();
                for message in &found.messages {
                    prop_assert!(message.parent_id.is_none_or(|parent| seen.contains(&parent)));
                    prop_assert!(seen.insert(message.id) && !message.text.is_empty());
                }
                prop_assert!(seen.contains(&found.leaf_id));
                prop_assert!(found.messages.iter().all(|message| message.parent_id != Some(found.leaf_id)));
                prop_assert!(found.updated_at >= found.created_at && found.updated_at <= NOW);
            }
        }
    }
}

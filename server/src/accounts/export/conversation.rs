//! A conversation in an export: as Markdown to read, and as JSON with all details.

use super::archive::{Archive, List};
use crate::AppState;
use domain::{MessageId, MessageStatus, Role, Viewer};
use serde_json::json;
use std::fmt::Write as _;
use store::conversation::ExportedConversation;
use store::message::{self, ExportedMessage};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Maximum length of the title in the name of a file, in characters.
const MAX_TITLE: usize = 60;

/// Returns the path of a conversation's file, which is valid on every system: letters and digits of the title, after a number that makes it
/// unique and keeps it from being a name with a meaning of its own, such as `CON`.
fn path(number: usize, title: &str, ending: &str) -> String {
    let plain: String = title.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let joined = plain.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    let short: String = joined.chars().take(MAX_TITLE).collect();
    let name = if short.is_empty() { "untitled" } else { short.trim_end_matches('-') };
    format!("conversations/{number:03}-{name}.{ending}")
}

/// Writes the text of a conversation: the versions of questions and responses that its page shows.
pub(super) async fn write_markdown(
    app: &AppState,
    viewer: &Viewer,
    archive: &mut Archive,
    number: usize,
    conversation: &ExportedConversation,
) -> anyhow::Result<()> {
    archive.begin(&path(number, &conversation.title, "md"))?;
    let title: String = conversation.title.split_whitespace().collect::<Vec<_>>().join(" ");
    archive.write(format!("# {title}\n").as_bytes()).await?;
    let mut after = None;
    loop {
        let page = message::next_on_path(&app.db, viewer.user_id, conversation.id, after).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(MessageId::from(last.message_id));
        let mut text = String::new();
        for message in &page {
            write_message(&mut text, message)?;
        }
        archive.write(text.as_bytes()).await?;
    }
}

/// Appends a message with a heading that names its author and time.
fn write_message(out: &mut String, message: &ExportedMessage) -> anyhow::Result<()> {
    let author = match message.role == Role::User.as_str() {
        true => "You",
        false => message.model.as_deref().unwrap_or("Assistant"),
    };
    let (at, is_finished) = (message.created_at, message.status == MessageStatus::Finished.as_str());
    let status = if is_finished { String::new() } else { format!(", {}", message.status) };
    write!(out, "\n## {author}, {} {}{status}\n\n{}\n", at.date(), clock(at), message.text)?;
    Ok(())
}

/// Returns the time of day to the minute.
fn clock(at: OffsetDateTime) -> String {
    format!("{:02}:{:02} UTC", at.hour(), at.minute())
}

/// Writes a conversation with all details and all versions.
pub(super) async fn write_json(
    app: &AppState,
    viewer: &Viewer,
    archive: &mut Archive,
    number: usize,
    conversation: &ExportedConversation,
) -> anyhow::Result<()> {
    archive.begin(&path(number, &conversation.title, "json"))?;
    let head = json!({
        "conversation_id": conversation.id,
        "title": conversation.title,
        "created_at": conversation.created_at.format(&Rfc3339)?,
        "updated_at": conversation.updated_at.format(&Rfc3339)?,
        "leaf_id": conversation.leaf_id,
    });
    // The object stays open for its messages.
    let head = head.to_string();
    let open = head.strip_suffix('}').unwrap_or(&head);
    let (mut list, mut after) = (List::new(format!("{open},\n\"messages\": [").as_bytes()), None);
    loop {
        let page = message::next(&app.db, viewer.user_id, conversation.id, after).await?;
        let Some(last) = page.last() else { return list.end_with(archive, b"]}\n").await };
        after = Some(MessageId::from(last.message_id));
        list.add(archive, &page).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_made_of_letters_and_digits() {
        assert_eq!(path(1, "Why? Über/alles …", "md"), "conversations/001-Why-Über-alles.md");
        assert_eq!(path(12, "../../etc/passwd", "json"), "conversations/012-etc-passwd.json");
        assert_eq!(path(1_000, "\u{202e}..\\", "md"), "conversations/1000-untitled.md");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_title_makes_an_unsafe_path(title in any::<String>()) {
            let path = path(1, &title, "md");
            let name = path.strip_prefix("conversations/").unwrap().strip_suffix(".md").unwrap();
            prop_assert!(name.chars().all(|c| c.is_alphanumeric() || c == '-') && name.chars().count() <= 64);
            prop_assert!(!name.ends_with('-'));
        }
    }
}

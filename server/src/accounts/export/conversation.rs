//! A conversation in an export: its visible path as Markdown to read, and all of its messages as JSON (`docs/conversations.md`).

use super::archive::{List, Sink};
use crate::AppState;
use domain::{MessageId, MessageStatus, Role, Viewer};
use serde_json::json;
use std::fmt::Write as _;
use store::export::{self, ExportedConversation, ExportedMessage};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The value of `format` in the JSON of a conversation, and the version of its schema.
pub(crate) const FORMAT: &str = "conversation";
pub(crate) const VERSION: u32 = 1;

/// Maximum length of the title in the name of a file, in characters.
const MAX_TITLE: usize = 60;

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The visible path, to read.
    Markdown,
    /// All messages with all details.
    Json,
}

impl Format {
    /// Parses the ending of a file's name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Markdown, Self::Json].into_iter().find(|format| format.ending() == text)
    }

    /// Returns the ending of a file's name.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            Self::Json => "json",
        }
    }

    /// Returns the media type of the file.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::Json => "application/json",
        }
    }
}

/// Returns a title as the name of a file, which is valid on every system: its letters and digits.
fn file_name(title: &str) -> String {
    let plain: String = title.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let joined = plain.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    let short: String = joined.chars().take(MAX_TITLE).collect();
    if short.is_empty() { "untitled".to_owned() } else { short.trim_end_matches('-').to_owned() }
}

/// Returns the name of a conversation's file when it is downloaded alone, in ASCII.
pub(crate) fn download_name(title: &str, format: Format) -> String {
    let ascii: String = title.chars().filter(|c| c.is_ascii() || c.is_whitespace()).collect();
    format!("conversation-{}.{}", file_name(&ascii), format.ending())
}

/// Returns the path of a conversation's file in an archive, after a number that makes it unique and keeps it from being a name with a meaning
/// of its own, such as `CON`.
pub(super) fn path(number: usize, title: &str, format: Format) -> String {
    format!("conversations/{number:03}-{}.{}", file_name(title), format.ending())
}

/// Writes a conversation to a file that was begun.
pub(super) async fn write(
    app: &AppState,
    viewer: &Viewer,
    file: &mut impl Sink,
    conversation: &ExportedConversation,
    format: Format,
) -> anyhow::Result<()> {
    match format {
        Format::Markdown => write_markdown(app, viewer, file, conversation).await,
        Format::Json => write_json(app, viewer, file, conversation).await,
    }
}

async fn write_markdown(
    app: &AppState,
    viewer: &Viewer,
    file: &mut impl Sink,
    conversation: &ExportedConversation,
) -> anyhow::Result<()> {
    let title: String = conversation.title.split_whitespace().collect::<Vec<_>>().join(" ");
    file.write(format!("# {title}\n").as_bytes()).await?;
    let Some(leaf) = conversation.leaf_id else { return Ok(()) };
    let mut left = i32::MAX;
    while left > 0 {
        let page = export::path(&app.db, viewer.user_id, conversation.id, leaf, left).await?;
        let mut text = String::new();
        for message in &page.messages {
            write_message(&mut text, message)?;
        }
        file.write(text.as_bytes()).await?;
        left = page.left;
    }
    Ok(())
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
    for file in &message.files.0 {
        write!(out, "\nFile: {}\n", file.name)?;
    }
    Ok(())
}

/// Returns the time of day to the minute.
fn clock(at: OffsetDateTime) -> String {
    format!("{:02}:{:02} UTC", at.hour(), at.minute())
}

async fn write_json(
    app: &AppState,
    viewer: &Viewer,
    file: &mut impl Sink,
    conversation: &ExportedConversation,
) -> anyhow::Result<()> {
    let head = json!({
        "format": FORMAT,
        "version": VERSION,
        "conversation_id": conversation.id,
        "title": conversation.title,
        "leaf_id": conversation.leaf_id,
        "created_at": conversation.created_at.format(&Rfc3339)?,
        "updated_at": conversation.updated_at.format(&Rfc3339)?,
    });
    // The object stays open for its messages.
    let head = head.to_string();
    let open = head.strip_suffix('}').unwrap_or(&head);
    file.write(format!("{open},\n\"messages\": ").as_bytes()).await?;
    let (mut list, mut after) = (List::new(b"["), None);
    loop {
        let page = export::messages(&app.db, viewer.user_id, conversation.id, after).await?;
        let Some(last) = page.last() else { return list.end_with(file, b"]}\n").await };
        after = Some(MessageId::from(last.message_id));
        list.add(file, &page).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_made_of_letters_and_digits() {
        let path = |number, title| path(number, title, Format::Markdown);
        assert_eq!(path(1, "Why? Über/alles …"), "conversations/001-Why-Über-alles.md");
        assert_eq!(path(12, "../../etc/passwd"), "conversations/012-etc-passwd.md");
        assert_eq!(path(1_000, "\u{202e}..\\"), "conversations/1000-untitled.md");
        assert_eq!(download_name("Über \"quotes\"", Format::Json), "conversation-ber-quotes.json");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_title_makes_an_unsafe_path(title in any::<String>()) {
            let path = path(1, &title, Format::Markdown);
            let name = path.strip_prefix("conversations/").unwrap().strip_suffix(".md").unwrap();
            prop_assert!(name.chars().all(|c| c.is_alphanumeric() || c == '-') && name.chars().count() <= 64);
            prop_assert!(!name.ends_with('-'));
            prop_assert!(download_name(&title, Format::Json).is_ascii());
        }
    }
}

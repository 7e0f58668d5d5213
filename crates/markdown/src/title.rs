//! Titles of conversations, and the text of messages without Markdown.

use crate::marks::{clean, restore};
use crate::prepare::prepare;
use crate::write::OPTIONS;
use pulldown_cmark::{Event, Parser, TagEnd};

/// Longest title, in characters.
const MAX_LEN: usize = 80;
/// Characters of the source that are read for a title.
const MAX_SOURCE: usize = 4096;
/// Characters of the source that are read for an excerpt.
const MAX_EXCERPT_SOURCE: usize = 16_384;

/// Returns the first words of a text without Markdown, at most 80 characters; empty if it has no words.
#[must_use]
pub fn plain_title(source: &str) -> String {
    shortened(&plain(source, MAX_SOURCE, MAX_LEN * 8))
}

/// Returns a text without Markdown in one line. Its first 16,384 characters are read.
#[must_use]
pub fn plain_text(source: &str) -> String {
    plain(source, MAX_EXCERPT_SOURCE, usize::MAX)
}

/// Returns the words of the first `max_source` characters of a text without Markdown, in one line. Stops after about `max` bytes.
fn plain(source: &str, max_source: usize, max: usize) -> String {
    let source: String = source.trim().chars().take(max_source).map(clean).collect();
    let prepared = prepare(&source);
    let mut words = String::new();
    for event in Parser::new_ext(&prepared.text, OPTIONS) {
        match event {
            Event::Text(text) | Event::Code(text) => words.push_str(&restore(&text, &prepared.math)),
            Event::SoftBreak | Event::HardBreak | Event::Rule => words.push(' '),
            Event::End(tag)
                if !matches!(tag, TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link) =>
            {
                words.push(' ');
            }
            _ => {}
        }
        if words.len() > max {
            break;
        }
    }
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Cuts a text at the end of a word, so that it has at most 80 characters.
fn shortened(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(MAX_LEN) else { return text.to_owned() };
    let fits: String = text[..end].chars().take(MAX_LEN - 1).collect();
    let cut = if text[fits.len()..].starts_with(' ') {
        fits.as_str()
    } else {
        fits.rsplit_once(' ').map_or(fits.as_str(), |(words, _)| words)
    };
    format!("{}…", cut.trim_end())
}

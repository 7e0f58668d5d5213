//! Titles of conversations.

use crate::marks::{clean, restore};
use crate::prepare::prepare;
use crate::write::OPTIONS;
use pulldown_cmark::{Event, Parser, TagEnd};

/// Longest title, in characters.
const MAX_LEN: usize = 80;
/// Bytes of the source that are read.
const MAX_SOURCE: usize = 4096;

/// Returns the first words of a text without Markdown, at most 80 characters; empty if it has no words.
#[must_use]
pub fn plain_title(source: &str) -> String {
    let source: String = source.trim().chars().take(MAX_SOURCE).map(clean).collect();
    let prepared = prepare(&source);
    let mut title = String::new();
    for event in Parser::new_ext(&prepared.text, OPTIONS) {
        match event {
            Event::Text(text) | Event::Code(text) => title.push_str(&restore(&text, &prepared.math)),
            Event::SoftBreak | Event::HardBreak | Event::Rule => title.push(' '),
            Event::End(tag)
                if !matches!(tag, TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link) =>
            {
                title.push(' ');
            }
            _ => {}
        }
        if title.len() > MAX_LEN * 8 {
            break;
        }
    }
    let words: Vec<&str> = title.split_whitespace().collect();
    shortened(&words.join(" "))
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

//! Renders one block.

use crate::code::Cache;
use crate::definitions::{Definitions, Found};
use crate::prepare::prepare;
use crate::writer::Writer;
use pulldown_cmark::{BrokenLink, CowStr, Event, Options, Parser};

/// Longest label of a footnote that other blocks may name, in bytes.
const MAX_LABEL: usize = 100;

pub(crate) const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS)
    .union(Options::ENABLE_FOOTNOTES);

/// The context in which a block is rendered.
pub(crate) struct Context<'a> {
    /// Prefix of the ids of footnotes.
    pub scope: &'a str,
    /// The block's number.
    pub block: u32,
    /// Whether the source is a page of the site, not an answer.
    pub is_page: bool,
    /// The definitions in the blocks before it; at the end of the answer, those in all blocks.
    pub definitions: &'a Definitions,
}

/// A rendered block.
pub(crate) struct Rendered {
    pub html: String,
    pub found: Found,
    /// Bytes that were parsed or highlighted.
    pub work: usize,
}

/// Renders a block. `cache` keeps its highlighted code until it is rendered again.
pub(crate) fn write(source: &str, context: &Context<'_>, cache: &mut Cache) -> Rendered {
    let mut prepared = prepare(source);
    let mut found = Found { mentions: mentions(&prepared.text), ..Found::default() };
    let end = prepared.text.len();
    for label in &found.mentions {
        if context.definitions.footnote_elsewhere(label, context.block) {
            // The parser sees only this block, so the footnotes of others are defined below it. They aren't written.
            prepared.text.push_str(&format!("\n\n[^{label}]: x"));
        }
    }
    let (mut unresolved, mut expanded) = (Vec::new(), 0);
    let resolve = resolver(|label| {
        let url = context.definitions.link(label, expanded);
        match url {
            Some(url) => expanded += url.len(),
            None => unresolved.push(label.to_owned()),
        }
        url.map(str::to_owned)
    });
    let parser = Parser::new_with_broken_link_callback(&prepared.text, OPTIONS, Some(resolve));
    let links = parser.reference_definitions().iter();
    found.links = links.map(|(label, link)| (label.to_owned(), link.dest.to_string())).collect();
    let Context { scope, block, is_page, definitions } = *context;
    let mut writer = Writer::new(&prepared, scope, block, is_page, definitions, cache);
    for (event, range) in parser.into_offset_iter() {
        if range.start >= end && matches!(event, Event::Start(_)) {
            break;
        }
        writer.event(event);
    }
    let written = writer.finish();
    (found.footnotes, found.formulas) = (written.footnotes, written.formulas);
    (found.unresolved, found.expanded) = (unresolved, expanded);
    Rendered { html: written.html, found, work: written.work + source.len() }
}

/// Gives the parser a function that resolves labels of links.
fn resolver<'input>(
    mut resolve: impl FnMut(&str) -> Option<String>,
) -> impl FnMut(BrokenLink<'input>) -> Option<(CowStr<'input>, CowStr<'input>)> {
    move |link| resolve(&link.reference).map(|url| (CowStr::from(url), CowStr::Borrowed("")))
}

/// Returns the labels of the footnotes that a text names, each once.
fn mentions(text: &str) -> Vec<String> {
    let mut labels = Vec::<String>::new();
    let mut seen = std::collections::HashSet::new();
    for (at, _) in text.match_indices("[^") {
        let rest = &text[at + 2..];
        let Some(end) = rest.find([']', '[', '\\', '\n']).filter(|end| rest[*end..].starts_with(']')) else { continue };
        let label = &rest[..end];
        let before = text[..at].trim_end_matches(' ');
        let is_definition = rest[end + 1..].starts_with(':') && (before.is_empty() || before.ends_with('\n'));
        if label.len() <= MAX_LABEL && !label.trim().is_empty() && !is_definition && seen.insert(label) {
            labels.push(label.to_owned());
        }
    }
    labels
}

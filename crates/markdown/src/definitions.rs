//! Definitions of links and footnotes of an answer, which its blocks share.

use std::collections::HashMap;

/// Longest URL that is kept for other blocks, in bytes.
const MAX_URL: usize = 2048;
/// Bytes that references to other blocks' definitions may add to an answer's HTML, so that a long URL that is referenced often doesn't
/// make it large.
const MAX_EXPANSION: usize = 1_000_000;

/// Formulas that are drawn in an answer and in a block of it.
const MAX_FORMULAS: (usize, usize) = (10_000, 1_000);

/// The definitions in the finished blocks of an answer.
#[derive(Default)]
pub(crate) struct Definitions {
    links: HashMap<String, String>,
    /// The block that defines each footnote.
    footnotes: HashMap<String, u32>,
    /// The first block that names each footnote.
    mentions: HashMap<String, u32>,
    expanded: usize,
    formulas: usize,
}

/// The definitions and references of a block.
#[derive(Default)]
pub(crate) struct Found {
    /// Labels and URLs of links.
    pub links: Vec<(String, String)>,
    /// Footnotes that the block defines.
    pub footnotes: Vec<String>,
    /// Footnotes that the block names.
    pub mentions: Vec<String>,
    /// Links that the block names and that nothing defined.
    pub unresolved: Vec<String>,
    /// Bytes that references to other blocks' definitions added.
    pub expanded: usize,
    /// Formulas that were drawn.
    pub formulas: usize,
}

impl Definitions {
    /// Adds the definitions and references of a finished block. The first definition counts.
    pub fn add(&mut self, block: u32, found: &Found) {
        for (label, url) in found.links.iter().filter(|(_, url)| url.len() <= MAX_URL) {
            self.links.entry(key(label)).or_insert_with(|| url.clone());
        }
        for label in &found.footnotes {
            self.footnotes.entry(key(label)).or_insert(block);
        }
        for label in &found.mentions {
            self.mentions.entry(key(label)).or_insert(block);
        }
        self.count(found);
    }

    /// Counts the use of the answer's limits by a finished block.
    pub fn count(&mut self, found: &Found) {
        self.expanded += found.expanded;
        self.formulas += found.formulas;
    }

    /// Returns how many formulas the next block may draw.
    pub fn formulas_left(&self) -> usize {
        MAX_FORMULAS.0.saturating_sub(self.formulas).min(MAX_FORMULAS.1)
    }

    /// Returns the URL of a link, unless `expanded` bytes are already too many.
    pub fn link(&self, label: &str, expanded: usize) -> Option<&str> {
        let url = self.links.get(&key(label))?;
        (self.expanded + expanded + url.len() <= MAX_EXPANSION).then_some(url)
    }

    /// Returns whether any block defines this link or footnote.
    pub fn defines(&self, label: &str) -> bool {
        let key = key(label);
        self.links.contains_key(&key) || key.strip_prefix('^').is_some_and(|name| self.footnotes.contains_key(name))
    }

    /// Returns whether another block defines a footnote.
    pub fn footnote_elsewhere(&self, label: &str, block: u32) -> bool {
        self.footnotes.get(&key(label)).is_some_and(|other| *other != block)
    }

    /// Returns whether a footnote's first reference is in no other block.
    pub fn is_first_mention(&self, label: &str, block: u32) -> bool {
        self.mentions.get(&key(label)).is_none_or(|first| *first == block)
    }
}

/// Returns the form in which labels are compared: without case, and with single spaces.
pub(crate) fn key(label: &str) -> String {
    let words: Vec<&str> = label.split_whitespace().collect();
    words.join(" ").to_lowercase().to_uppercase()
}

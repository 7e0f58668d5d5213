//! Search queries, and the excerpts that show the matches.

use serde::{Deserialize, Serialize};

/// Maximum length of a search, in characters.
pub const MAX_SEARCH: usize = 200;
/// Maximum number of words of a search. Further ones are ignored.
const MAX_WORDS: usize = 16;
/// Minimum length, in characters, at which the last word also matches as a prefix. Shorter prefixes would match nearly every message.
const MIN_PREFIX: usize = 3;
/// Characters of an excerpt before and after the start of its first match.
const BEFORE: usize = 60;
const AFTER: usize = 180;

/// A search: messages must contain all of its words, and the last one may be the beginning of a longer one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    text: String,
    words: Vec<String>,
}

/// A part of a text that search results show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// Whether it matches the query.
    pub is_match: bool,
}

impl SearchQuery {
    /// Parses what a user typed. Returns `None` if it has no word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SEARCH).collect();
        let is_edge = |c: char| !c.is_alphanumeric();
        let words = plain.split_whitespace().map(|word| word.trim_matches(is_edge)).filter(|word| !word.is_empty());
        let words: Vec<String> = words.take(MAX_WORDS).map(str::to_lowercase).collect();
        let text = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        (!words.is_empty()).then_some(Self { text, words })
    }

    /// Returns the text, with single spaces between its words.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the search in the syntax of Postgres' `to_tsquery`. Each word is quoted, so nothing in it is an operator.
    #[must_use]
    pub fn to_tsquery(&self) -> String {
        let last = self.words.len() - 1;
        let quoted = self.words.iter().enumerate().map(|(index, word)| {
            let prefix = if index == last && is_prefix(word) { ":*" } else { "" };
            format!("'{}'{prefix}", word.replace('\\', "\\\\").replace('\'', "''"))
        });
        quoted.collect::<Vec<_>>().join(" & ")
    }

    /// Returns a pattern for `ilike` that finds the text anywhere.
    #[must_use]
    pub fn to_pattern(&self) -> String {
        let escaped = self.text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        format!("%{escaped}%")
    }

    /// Returns a text with its matches.
    #[must_use]
    pub fn marked(&self, text: &str) -> Vec<Piece> {
        let chars: Vec<char> = text.chars().collect();
        pieces(&chars, &self.matches(&chars))
    }

    /// Returns the part of a text around its first match, in one line; its beginning if there is none.
    #[must_use]
    pub fn excerpt(&self, text: &str) -> Vec<Piece> {
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let chars: Vec<char> = line.chars().collect();
        let matches = self.matches(&chars);
        let first = matches.first().map_or(0, |(start, _)| *start);
        // From the start of a word, if there is one nearby.
        let from = first.saturating_sub(BEFORE);
        let from = if from == 0 { 0 } else { (from..first).find(|n| chars[*n - 1] == ' ').unwrap_or(first) };
        let until = (first + AFTER).max(matches.first().map_or(0, |(_, end)| *end)).min(chars.len());
        let inside = matches.into_iter().filter(|(start, end)| *start >= from && *end <= until);
        let inside: Vec<_> = inside.map(|(start, end)| (start - from, end - from)).collect();
        let mut found = pieces(&chars[from..until], &inside);
        let ellipsis = || Piece { text: "…".to_owned(), is_match: false };
        if from > 0 {
            found.insert(0, ellipsis());
        }
        if until < chars.len() {
            found.push(ellipsis());
        }
        found
    }

    /// Returns where the words begin and end in a text, in order and without overlaps.
    fn matches(&self, chars: &[char]) -> Vec<(usize, usize)> {
        // One character each, so that positions stay the same.
        let lower: Vec<char> = chars.iter().map(|c| c.to_lowercase().next().unwrap_or(*c)).collect();
        let is_word = |n: usize| lower.get(n).is_some_and(|c| c.is_alphanumeric());
        let words: Vec<Vec<char>> = self.words.iter().map(|word| word.chars().collect()).collect();
        let last = words.len() - 1;
        let (mut found, mut at) = (Vec::new(), 0);
        while at < lower.len() {
            let is_start = is_word(at) && (at == 0 || !is_word(at - 1));
            let longest = words.iter().enumerate().filter(|(index, word)| {
                let is_here = is_start && lower[at..].starts_with(word);
                is_here && (!is_word(at + word.len()) || (*index == last && is_prefix(&self.words[last])))
            });
            match longest.map(|(_, word)| word.len()).max() {
                Some(length) => {
                    found.push((at, at + length));
                    at += length;
                }
                None => at += 1,
            }
        }
        found
    }
}

fn is_prefix(word: &str) -> bool {
    word.chars().count() >= MIN_PREFIX
}

fn pieces(chars: &[char], matches: &[(usize, usize)]) -> Vec<Piece> {
    let (mut found, mut at) = (Vec::new(), 0);
    let mut add = |from: usize, until: usize, is_match: bool| {
        if from < until {
            found.push(Piece { text: chars[from..until].iter().collect(), is_match });
        }
    };
    for (start, end) in matches {
        add(at, *start, false);
        add(*start, *end, true);
        at = *end;
    }
    add(at, chars.len(), false);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query(text: &str) -> SearchQuery {
        SearchQuery::parse(text).unwrap()
    }

    fn marks(pieces: &[Piece]) -> String {
        pieces
            .iter()
            .map(|piece| if piece.is_match { format!("[{}]", piece.text) } else { piece.text.clone() })
            .collect()
    }

    #[test]
    fn words_are_quoted_and_the_last_one_finds_longer_ones() {
        assert_eq!(query(" End of \t Lea ").to_tsquery(), "'end' & 'of' & 'lea':*");
        assert_eq!(query("a c").to_tsquery(), "'a' & 'c'");
        assert_eq!(query("(don't | !x\\y) & b:*").to_tsquery(), "'don''t' & 'x\\\\y' & 'b'");
        assert_eq!(query("50%_\\x").to_pattern(), "%50\\%\\_\\\\x%");
        for empty in ["", "  ", "& | !", "\0", "--"] {
            assert_eq!(SearchQuery::parse(empty), None, "{empty:?}");
        }
    }

    #[test]
    fn whole_words_and_the_beginning_of_the_last_are_marked() {
        assert_eq!(marks(&query("the lea").marked("The lease of the other")), "[The] [lea]se of [the] other");
        assert_eq!(marks(&query("or").marked("for or OR order")), "for [or] [OR] order");
        assert_eq!(marks(&query("<b>").marked("a <b> tag")), "a <[b]> tag");
    }

    #[test]
    fn an_excerpt_begins_near_its_first_match() {
        let text = format!("{} the lease\nends {}", "word ".repeat(100), "more ".repeat(100));
        let found = marks(&query("lease").excerpt(&text));
        assert!(
            found.starts_with("…word ") && found.contains("the [lease] ends more") && found.ends_with('…'),
            "{found}"
        );
        assert!(found.chars().count() <= BEFORE + AFTER + 4, "{found}");
        assert_eq!(marks(&query("nothing").excerpt("short text")), "short text");
    }

    proptest! {
        #[test]
        fn pieces_are_a_part_of_the_text(text in ".{0,400}", search in "\\PC{1,40}") {
            let Some(query) = SearchQuery::parse(&search) else { return Ok(()) };
            let whole: String = query.marked(&text).iter().map(|piece| piece.text.as_str()).collect();
            prop_assert_eq!(&whole, &text);
            let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let part: String = query.excerpt(&text).iter().map(|piece| piece.text.as_str()).collect();
            prop_assert!(line.contains(part.trim_matches('…')), "{} in {}", part, line);
        }
    }
}

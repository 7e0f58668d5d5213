//! Rewrites a block's source for the parser.
//!
//! Formulas become marks with a number, so that nothing in them is taken for Markdown. A `<` becomes a mark unless it opens an autolink, so
//! that HTML is text. Marks that represent no text let emphasis begin and end beside Chinese, Japanese and Korean punctuation, and end the
//! nesting of lists and quotes at a depth that no reader needs.

use crate::fence::Fence;
use crate::marks::{ESCAPED_LESS, JOINER, LESS, MATH_END, MATH_START};
use crate::math_span;

/// Depth of nesting that is rendered; what is deeper is text of the deepest element.
pub(crate) const MAX_DEPTH: usize = 32;
/// Column up to which a line may open lists and quotes.
const MAX_COLUMN: usize = 200;

/// A block's source, rewritten.
#[derive(Default)]
pub(crate) struct Prepared {
    /// What the parser reads.
    pub text: String,
    /// The formulas by number.
    pub math: Vec<Formula>,
}

/// A formula.
pub(crate) struct Formula {
    /// As written, with delimiters.
    pub source: String,
    /// Without delimiters.
    pub tex: String,
    /// Whether it is on its own line.
    pub is_display: bool,
}

impl AsRef<str> for Formula {
    fn as_ref(&self) -> &str {
        &self.source
    }
}

/// Rewrites a block.
pub(crate) fn prepare(source: &str) -> Prepared {
    let mut prepared = Prepared { text: String::with_capacity(source.len() + 64), math: Vec::new() };
    let mut fence: Option<(Fence, bool)> = None;
    let (mut start, mut end) = (0, 0);
    for line in source.split_inclusive('\n') {
        let content = after_markers(line);
        let is_blank = line.trim().is_empty();
        let is_code = match &mut fence {
            // A quote ends at a blank line, and the code in it too.
            Some((_, true)) if is_blank => {
                fence = None;
                false
            }
            Some((open, _)) => {
                if open.closes(line.trim_start_matches([' ', '\t', '>'])) {
                    fence = None;
                }
                true
            }
            None => {
                fence = Fence::open(content).map(|open| (open, line.trim_start().starts_with('>')));
                fence.is_some()
            }
        };
        if is_code || is_blank {
            prepared.add(&source[start..end]);
            prepared.rewrite(line);
            start = end + line.len();
        }
        end += line.len();
    }
    prepared.add(&source[start..]);
    prepared
}

impl Prepared {
    /// Adds lines without a blank line between them, outside of code.
    fn add(&mut self, text: &str) {
        let mut at = 0;
        for span in math_span::find(text) {
            self.rewrite(&text[at..span.range.start]);
            // Only a formula of several lines has the markers of a quote in it.
            let has_lines = text[span.tex.clone()].contains('\n');
            let line = if has_lines { text[..span.range.start].rfind('\n').map_or(0, |end| end + 1) } else { 0 };
            let is_quoted = has_lines && text[line..].trim_start().starts_with('>');
            self.text.push(MATH_START);
            self.text.push_str(&self.math.len().to_string());
            self.text.push(MATH_END);
            self.math.push(Formula {
                source: text[span.range.clone()].to_owned(),
                tex: if is_quoted { unquoted(&text[span.tex]) } else { text[span.tex].to_owned() },
                is_display: span.is_display,
            });
            at = span.range.end;
        }
        self.rewrite(&text[at..]);
    }

    /// Adds text without formulas.
    fn rewrite(&mut self, text: &str) {
        for line in text.split_inclusive('\n') {
            let mut rest = line;
            if self.text.is_empty() || self.text.ends_with('\n') {
                let allowed = allowed_markers(line);
                self.text.push_str(&line[..allowed]);
                if allowed < line.len() && is_marker(&line[allowed..]) {
                    self.text.push(JOINER);
                }
                rest = &line[allowed..];
            }
            while let Some(at) = rest.find(['<', '*', '~']) {
                self.text.push_str(&rest[..at]);
                rest = if rest[at..].starts_with('<') { self.less(&rest[at..]) } else { self.emphasis(&rest[at..]) };
            }
            self.text.push_str(rest);
        }
    }

    /// Adds a `<` and returns what follows it.
    fn less<'a>(&mut self, text: &'a str) -> &'a str {
        let is_destination = self.text.ends_with("](") || self.text.trim_end().ends_with("]:");
        if self.is_escaped() {
            self.text.pop();
            self.text.push(ESCAPED_LESS);
        } else if is_destination || is_autolink(text) {
            self.text.push('<');
        } else {
            self.text.push(LESS);
        }
        &text[1..]
    }

    /// Adds a run of `*` or `~`, with marks beside it that make the parser see letters where it would see punctuation, and returns what
    /// follows the run. By the amendment of <https://github.com/tats-u/markdown-cjk-friendly>.
    fn emphasis<'a>(&mut self, text: &'a str) -> &'a str {
        let delimiter = text.as_bytes()[0];
        let len = text.bytes().take_while(|byte| *byte == delimiter).count();
        let (run, rest) = text.split_at(len);
        let before = self.text.chars().next_back().filter(|c| !c.is_whitespace());
        let after = rest.chars().next().filter(|c| !c.is_whitespace());
        let applies = (delimiter == b'*' || len == 2) && !self.is_escaped();
        let (Some(before), Some(after), true) = (before, after, applies) else {
            self.text.push_str(run);
            return rest;
        };
        let has_cjk = is_cjk(before) || is_cjk(after);
        if has_cjk && !before.is_alphanumeric() {
            self.text.push(JOINER);
        }
        self.text.push_str(run);
        if has_cjk && !after.is_alphanumeric() {
            self.text.push(JOINER);
        }
        rest
    }

    /// Returns whether a backslash escapes what is added next.
    fn is_escaped(&self) -> bool {
        self.text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
    }
}

/// Returns the lines of a quote without its markers.
fn unquoted(text: &str) -> String {
    let lines: Vec<&str> = text.split('\n').map(|line| line.trim_start_matches([' ', '\t', '>'])).collect();
    lines.join("\n")
}

/// Returns whether a `<` opens an autolink: a scheme or an address, then no space until `>`.
fn is_autolink(text: &str) -> bool {
    let Some(end) = text[1..].find(['>', '<', ' ', '\n', '\t']).filter(|end| text[1 + end..].starts_with('>')) else {
        return false;
    };
    let inner = &text[1..=end];
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-_".contains(&byte))
    };
    match inner.split_once(':') {
        Some((scheme, _)) => scheme.len() > 1 && scheme.as_bytes()[0].is_ascii_alphabetic() && is_word(scheme),
        None => inner.split_once('@').is_some_and(|(name, host)| is_word(name) && is_word(host)),
    }
}

/// Returns the length of the marker of a list item or quote that a text begins with.
fn marker_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let digits = bytes.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    let len = match bytes.get(digits)? {
        b'>' if digits == 0 => return Some(1),
        b'-' | b'+' | b'*' if digits == 0 => 1,
        b'.' | b')' if (1..=9).contains(&digits) => digits + 1,
        _ => return None,
    };
    bytes.get(len).is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'\n')).then_some(len)
}

fn is_marker(text: &str) -> bool {
    marker_len(text.trim_start_matches([' ', '\t'])).is_some()
}

/// Returns the length of the start of a line that holds as many markers as are allowed.
fn allowed_markers(line: &str) -> usize {
    let mut at = 0;
    for _ in 0..MAX_DEPTH {
        let spaces = line[at..].len() - line[at..].trim_start_matches([' ', '\t']).len();
        if at + spaces > MAX_COLUMN {
            break;
        }
        let Some(len) = marker_len(&line[at + spaces..]) else { break };
        at += spaces + len;
    }
    // The spaces before a marker that isn't allowed stay before the mark.
    let spaces = line[at..].len() - line[at..].trim_start_matches([' ', '\t']).len();
    at + spaces
}

/// Returns a line without the markers of lists and quotes that it begins with.
fn after_markers(line: &str) -> &str {
    line[allowed_markers(line)..].trim_start_matches([' ', '\t'])
}

/// Returns whether a character is Chinese, Japanese or Korean, punctuation included.
fn is_cjk(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x11FF | 0x2E80..=0x9FFF | 0xA960..=0xA97F | 0xAC00..=0xD7FF | 0xF900..=0xFAFF | 0xFE30..=0xFE4F
        | 0xFF00..=0xFFEF | 0x2_0000..=0x3_FFFF)
}

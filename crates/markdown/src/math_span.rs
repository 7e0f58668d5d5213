//! Finds formulas in text: `$…$`, `$$…$$`, `\(…\)` and `\[…\]`, outside of code.

use std::collections::HashMap;
use std::ops::Range;

/// A formula in the source.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The formula with its delimiters.
    pub range: Range<usize>,
    /// The formula without them.
    pub tex: Range<usize>,
    /// Whether it is on its own line.
    pub is_display: bool,
}

/// Finds the formulas in a stretch of text without blank lines, in order. The time is linear.
pub(crate) fn find(text: &str) -> Vec<Span> {
    if !text.contains('$') && !text.contains("\\(") && !text.contains("\\[") {
        return Vec::new();
    }
    let code = code_spans(text);
    let mut search = Search { text, missing: Vec::new() };
    let (mut spans, mut at) = (Vec::new(), 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        let (span, next) = match (bytes[at], bytes.get(at + 1)) {
            (b'\\', Some(b'(')) => (search.delimited(at, "\\)", false), at + 2),
            (b'\\', Some(b'[')) => (search.delimited(at, "\\]", true), at + 2),
            (b'\\', _) => (None, at + 2),
            (b'`', _) => {
                let len = bytes[at..].iter().take_while(|byte| **byte == b'`').count();
                (None, code.get(&at).copied().unwrap_or(at + len))
            }
            (b'$', Some(b'$')) => (search.delimited(at, "$$", true), at + 2),
            (b'$', _) => (inline(text, at), at + 1),
            _ => (None, at + 1),
        };
        at = span.as_ref().map_or(next, |span| span.range.end);
        spans.extend(span);
    }
    spans
}

/// Returns the end of each code span by its start.
fn code_spans(text: &str) -> HashMap<usize, usize> {
    let bytes = text.as_bytes();
    let (mut runs, mut at) = (Vec::new(), 0);
    while let Some(start) = text[at..].find('`').map(|found| at + found) {
        let len = bytes[start..].iter().take_while(|byte| **byte == b'`').count();
        runs.push((start, len));
        at = start + len;
    }
    // From the end: the next run of the same length closes a run.
    let (mut closing, mut ends) = (HashMap::new(), HashMap::new());
    for (start, len) in runs.into_iter().rev() {
        if let Some(end) = closing.insert(len, start + len) {
            ends.insert(start, end);
        }
    }
    ends
}

struct Search<'a> {
    text: &'a str,
    /// Delimiters that don't occur in the rest of the text, so that each is searched for only once.
    missing: Vec<&'static str>,
}

impl Search<'_> {
    /// Returns the formula that begins at `start` with a delimiter of two bytes.
    fn delimited(&mut self, start: usize, close: &'static str, is_display: bool) -> Option<Span> {
        if self.missing.contains(&close) {
            return None;
        }
        let Some(len) = self.text[start + 2..].find(close) else {
            self.missing.push(close);
            return None;
        };
        let tex = start + 2..start + 2 + len;
        let has_content = self.text[tex.clone()].contains(char::is_alphanumeric);
        has_content.then(|| Span { range: start..tex.end + 2, tex, is_display })
    }
}

/// Returns the formula between single dollars, by the rule of pandoc: no space inside of them, and no digit after them, so that amounts
/// of money aren't formulas.
fn inline(text: &str, start: usize) -> Option<Span> {
    let bytes = text.as_bytes();
    let first = text[start + 1..].chars().next()?;
    if first.is_whitespace() {
        return None;
    }
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            // Code begins before the formula could end.
            b'\n' | b'`' => return None,
            b'\\' => at += 2,
            b'$' => break,
            _ => at += 1,
        }
    }
    let ends = bytes.get(at).is_some_and(|byte| *byte == b'$')
        && !text[start + 1..at].ends_with(char::is_whitespace)
        && !bytes.get(at + 1).is_some_and(|byte| byte.is_ascii_digit() || *byte == b'$');
    ends.then(|| Span { range: start..at + 1, tex: start + 1..at, is_display: false })
}

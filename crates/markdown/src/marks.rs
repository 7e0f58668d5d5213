//! Marks: characters that represent other source text between `prepare` and `write`; and escaping.
//!
//! They are noncharacters, which Unicode reserves for internal use; those in the source are replaced first. To the
//! parser they are letters.

use std::borrow::Cow;

/// A `<` that opens no autolink: shown as text, so that the parser never sees HTML.
pub(crate) const LESS: char = '\u{FDD0}';
/// A `<` after a backslash that escapes it.
pub(crate) const ESCAPED_LESS: char = '\u{FDD1}';
/// Nothing; separates characters for the parser.
pub(crate) const JOINER: char = '\u{FDD2}';
/// Before the number of a formula.
pub(crate) const MATH_START: char = '\u{FDD3}';
/// After the number of a formula.
pub(crate) const MATH_END: char = '\u{FDD4}';

/// Replaces characters that the source must not contain: the noncharacters used here, and U+0000, as CommonMark requires.
pub(crate) fn clean(c: char) -> char {
    if c == '\0' || ('\u{FDD0}'..='\u{FDEF}').contains(&c) { char::REPLACEMENT_CHARACTER } else { c }
}

/// Returns the source of a prepared text. `math` has the sources of the formulas.
pub(crate) fn restore<'a>(text: &'a str, math: &[impl AsRef<str>]) -> Cow<'a, str> {
    if !text.contains([LESS, ESCAPED_LESS, JOINER, MATH_START]) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find([LESS, ESCAPED_LESS, JOINER, MATH_START]) {
        out.push_str(&rest[..at]);
        let (mark, after) = split_char(&rest[at..]);
        rest = after;
        match mark {
            LESS => out.push('<'),
            ESCAPED_LESS => out.push_str("\\<"),
            MATH_START => {
                let (index, after) = number(rest);
                rest = after;
                out.push_str(index.and_then(|index| math.get(index)).map_or("", AsRef::as_ref));
            }
            _ => {}
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Splits off the first character.
pub(crate) fn split_char(text: &str) -> (char, &str) {
    let mut chars = text.chars();
    let first = chars.next().unwrap_or_default();
    (first, chars.as_str())
}

/// Reads the number of a formula and its end mark.
pub(crate) fn number(text: &str) -> (Option<usize>, &str) {
    text.split_once(MATH_END).map_or((None, text), |(digits, rest)| (digits.parse().ok(), rest))
}

/// Appends text, escaped.
pub(crate) fn push_text(out: &mut String, text: &str) {
    push_escaped(out, text, &['&', '<', '>', LESS, ESCAPED_LESS, JOINER]);
}

/// Appends an attribute's value, escaped.
pub(crate) fn push_attribute(out: &mut String, text: &str) {
    push_escaped(out, text, &['&', '<', '>', '"', LESS, ESCAPED_LESS, JOINER]);
}

fn push_escaped(out: &mut String, text: &str, special: &[char]) {
    let mut rest = text;
    while let Some(at) = rest.find(special) {
        out.push_str(&rest[..at]);
        let (c, after) = split_char(&rest[at..]);
        out.push_str(match c {
            '&' => "&amp;",
            '<' | LESS | ESCAPED_LESS => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            _ => "",
        });
        rest = after;
    }
    out.push_str(rest);
}

//! Links: which are allowed, and those that are written without any markup.

use crate::marks::push_attribute;
use std::ops::Range;

/// Returns whether a URL has one of the schemes allowed in links: `https`, `http` or `mailto`.
pub(crate) fn is_safe(url: &str) -> bool {
    let url = url.trim();
    ["https://", "http://", "mailto:"]
        .iter()
        .any(|scheme| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

/// Returns whether a URL leads to a page of this site or to a heading of the same page.
pub(crate) fn is_local(url: &str) -> bool {
    url.starts_with('#') || (url.starts_with('/') && !url.starts_with("//"))
}

/// Opens a link. Those of answers lead to other sites, in a new tab.
pub(crate) fn open(out: &mut String, url: &str, is_page: bool) {
    out.push_str("<a href=\"");
    push_attribute(out, url);
    let target = if is_page { "" } else { " target=\"_blank\" rel=\"noopener noreferrer nofollow\"" };
    out.push_str(&format!("\"{target}>"));
}

/// Finds the first URL in text that has no markup, from `from` on.
pub(crate) fn find_bare(text: &str, from: usize) -> Option<Range<usize>> {
    let mut at = from;
    loop {
        let start = at + text[at..].find("http")?;
        let scheme = ["https://", "http://"].iter().find(|scheme| text[start..].starts_with(**scheme));
        let is_word_start = !text[..start].ends_with(|c: char| c.is_ascii_alphanumeric());
        if let Some(scheme) = scheme.filter(|_| is_word_start) {
            let len = len_of(&text[start..]);
            let has_host = text[start + scheme.len()..start + len.max(scheme.len())].starts_with(char::is_alphanumeric);
            if has_host {
                return Some(start..start + len);
            }
        }
        at = start + "http".len();
    }
}

/// Returns the length of the URL that a text begins with, without the punctuation of the sentence around it.
fn len_of(text: &str) -> usize {
    let ends =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '"' | '`' | '|' | '\\') || is_outside(c);
    let mut url = &text[..text.find(ends).unwrap_or(text.len())];
    // Counted once, then kept up to date, so that a URL of a million brackets takes linear time.
    let count = |c: char| url.matches(c).count();
    let (mut round, mut square) = ((count('('), count(')')), (count('['), count(']')));
    while let Some(last) = url.chars().next_back() {
        let is_part = match last {
            ')' => round.1 <= round.0,
            ']' => square.1 <= square.0,
            '(' => false,
            '[' => false,
            _ => !".,:;!?'*_~>&…’”»".contains(last),
        };
        if is_part {
            break;
        }
        match last {
            ')' => round.1 -= 1,
            ']' => square.1 -= 1,
            '(' => round.0 -= 1,
            '[' => square.0 -= 1,
            _ => {}
        }
        url = &url[..url.len() - last.len_utf8()];
    }
    url.len()
}

/// Returns whether a character is punctuation that may follow a URL without a space, or a mark that represents something else.
fn is_outside(c: char) -> bool {
    ('\u{3000}'..='\u{303F}').contains(&c)
        || ('\u{FF00}'..='\u{FF0F}').contains(&c)
        || "\u{FF1A}\u{FF1B}\u{FF1F}".contains(c)
        || ('\u{FDD0}'..='\u{FDEF}').contains(&c)
}

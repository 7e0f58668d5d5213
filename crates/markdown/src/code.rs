//! Code blocks, highlighted line by line, so that a block that grows is never highlighted again from its beginning.

use crate::highlight::{Highlighter, Run};
use crate::marks::{push_attribute, push_text};

/// Longest line that is highlighted, in bytes. Some expressions take time that grows with the square of a line of one repeated character.
const MAX_LINE: usize = 1_000;
/// Longest run of tildes or backticks in a line that is highlighted. Markdown compiles an expression of that length for each line within a fence.
const MAX_FENCE: usize = 32;
/// Longest line that is highlighted before it has ended.
const MAX_PARTIAL: usize = 200;
/// Cost of the lines of a block that are highlighted, as [`cost`] counts it.
const MAX_COST: usize = 100_000;
/// Cost of highlighting a block's last line before it has ended.
const MAX_PARTIAL_COST: usize = 4 * MAX_COST;
/// What follows the lines of a block.
pub(crate) const FOOT: &str = "</code></pre></figure>\n";

/// A code block.
pub(crate) struct Code {
    highlighter: Option<Highlighter>,
    html: String,
    /// Length of the longest line that was highlighted.
    longest: usize,
    /// Cost of the lines so far.
    cost: usize,
    /// Cost of the lines that were highlighted before they had ended.
    partial_cost: usize,
    /// Bytes that were highlighted, also those highlighted again.
    pub work: usize,
}

impl Code {
    /// Begins a block in a language as the fence names it.
    pub fn new(language: &str) -> Self {
        let mut html = String::from(r#"<figure class="code"><figcaption><span>"#);
        push_attribute(&mut html, if language.is_empty() { "text" } else { language });
        html.push_str("</span>");
        for (name, label) in [("wrap", "Wrap"), ("download", "Download"), ("copy", "Copy")] {
            html.push_str(r#"<button type="button" class="quiet small" data-"#);
            html.push_str(name);
            html.push('>');
            html.push_str(label);
            html.push_str("</button>");
        }
        html.push_str(r#"</figcaption><pre tabindex="0"><code dir="ltr">"#);
        Self { highlighter: Highlighter::new(language), html, longest: 0, cost: 0, partial_cost: 0, work: 0 }
    }

    /// The HTML of the complete lines so far, without [`FOOT`].
    pub fn html(&self) -> &str {
        &self.html
    }

    /// Adds complete lines.
    pub fn lines(&mut self, text: &str) {
        for line in text.split_inclusive('\n') {
            let is_highlightable = is_highlightable(line);
            if is_highlightable {
                self.longest = self.longest.max(line.len());
                self.cost += cost(line, self.longest);
            }
            if self.cost > MAX_COST {
                self.highlighter = None;
            }
            let runs = match &mut self.highlighter {
                Some(highlighter) if is_highlightable => {
                    self.work += line.len();
                    highlighter.line(line)
                }
                Some(_) => Some(vec![(0..line.len(), None)]),
                None => None,
            };
            if runs.is_none() {
                self.highlighter = None;
            }
            push_runs(&mut self.html, line, runs);
        }
    }

    /// Returns the HTML of a last line that hasn't ended.
    pub fn partial(&mut self, line: &str) -> String {
        let mut html = String::new();
        let is_short = line.len() <= MAX_PARTIAL && is_highlightable(line) && self.partial_cost <= MAX_PARTIAL_COST;
        let highlighter = self.highlighter.as_ref().filter(|_| is_short && !line.is_empty());
        let runs = highlighter.and_then(|highlighter| {
            self.work += line.len();
            self.partial_cost += cost(line, self.longest);
            highlighter.preview(&format!("{line}\n"))
        });
        push_runs(&mut html, line, runs);
        html
    }
}

/// Returns whether a line is highlighted at all.
fn is_highlightable(line: &str) -> bool {
    let is_mark = |byte: u8| matches!(byte, b'~' | b'`');
    let has_long_fence =
        || line.as_bytes().chunk_by(|first, next| first == next).any(|run| is_mark(run[0]) && run.len() > MAX_FENCE);
    line.len() <= MAX_LINE && !has_long_fence()
}

/// Returns the cost of highlighting a line. `longest` is the length of the longest line so far.
///
/// The cost depends on lengths alone, not on time, so that a block that is rendered again has the same HTML. Each line costs something, some
/// expressions search the rest of the line at each of its bytes, and the end of a string that an earlier line named (`<<END`) is an
/// expression as long as its name, compiled for each line.
fn cost(line: &str, longest: usize) -> usize {
    20 + line.len() + line.len() * line.len() / 50 + longest / 5
}

/// Appends a line, with an element for each stretch that has a class. No element contains the line break.
fn push_runs(html: &mut String, line: &str, runs: Option<Vec<Run>>) {
    let text = line.trim_end_matches('\n');
    let Some(runs) = runs else {
        push_text(html, line);
        return;
    };
    for (range, class) in runs {
        let piece = &text[range.start.min(text.len())..range.end.min(text.len())];
        match class.filter(|_| !piece.is_empty()) {
            None => push_text(html, piece),
            Some(class) => {
                html.push_str("<span class=\"");
                html.push_str(class);
                html.push_str("\">");
                push_text(html, piece);
                html.push_str("</span>");
            }
        }
    }
    html.push_str(&line[text.len()..]);
}

/// The code blocks of a block that is rendered repeatedly, such as those in a list. Their complete lines are highlighted once.
#[derive(Default)]
pub(crate) struct Cache {
    /// Language, complete lines and HTML of each.
    known: Vec<(String, String, Code)>,
}

impl Cache {
    /// Returns the HTML of the block's code block number `index`, and the bytes that were highlighted for it.
    pub fn html(&mut self, index: usize, language: &str, text: &str) -> (String, usize) {
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        let is_known = self.known.get(index).is_some_and(|(known_language, source, _)| {
            known_language == language && text[..complete].starts_with(source.as_str())
        });
        if !is_known {
            self.known.truncate(index);
            self.known.push((language.to_owned(), String::new(), Code::new(language)));
        }
        let Some((_, source, code)) = self.known.get_mut(index) else { return (String::new(), 0) };
        let before = code.work;
        let added = &text[source.len()..complete];
        code.lines(added);
        source.push_str(added);
        let partial = code.partial(&text[complete..]);
        (format!("{}{partial}{FOOT}", code.html()), code.work - before)
    }
}

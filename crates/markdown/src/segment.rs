//! Finds where blocks end, line by line, without parsing them.
//!
//! A block here is a stretch of the source that is parsed on its own, with the same result as within the whole source. It is one top-level
//! element, or a few where finding the boundary would need a parser. Its end is decided by complete lines only and never taken back.

use crate::fence::{Fence, split_indent};
use crate::prepare::MAX_DEPTH;

/// The role of a line in the block structure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The open block ends before the line.
    pub ends_before: bool,
    /// The block that the line belongs to ends with it.
    pub ends_after: bool,
}

/// The kind of block that is open.
#[derive(Debug, Default)]
enum Open {
    #[default]
    Nothing,
    /// A paragraph, table or quote: ends at a blank line.
    Text {
        is_quote: bool,
        /// The end of a formula that began on a line of its own.
        formula: Option<&'static str>,
    },
    Fence(Fence),
    Indented,
    List(List),
    Footnote {
        after_blank: bool,
    },
}

/// A top-level list.
#[derive(Debug)]
struct List {
    marker: u8,
    /// Column where the content of the current item begins.
    offset: usize,
    /// The current item has no content yet.
    is_empty: bool,
    after_blank: bool,
    /// A fenced code block in the item.
    fence: Option<Fence>,
    /// The last line ended in text, which the next line continues whatever its indentation.
    in_text: bool,
}

/// How a line begins.
enum Start<'a> {
    Blank,
    Heading,
    Break,
    Fence(Fence),
    Quote,
    Footnote,
    Item(Item<'a>),
    Indented,
    Text,
}

struct Item<'a> {
    /// The bullet, or what follows the number.
    marker: u8,
    /// Whether it may interrupt a paragraph: it has content, and its number is 1.
    interrupts: bool,
    offset: usize,
    content: &'a str,
}

/// Finds the ends of an answer's blocks.
#[derive(Debug, Default)]
pub(crate) struct Segmenter {
    open: Open,
}

impl Segmenter {
    /// Returns the fenced code block that is open.
    pub fn fence(&self) -> Option<&Fence> {
        match &self.open {
            Open::Fence(fence) => Some(fence),
            _ => None,
        }
    }

    /// Returns whether no block is open.
    pub fn is_idle(&self) -> bool {
        matches!(self.open, Open::Nothing)
    }

    /// Takes a complete line.
    pub fn line(&mut self, line: &str) -> Decision {
        let goes_on = match &mut self.open {
            Open::Nothing => false,
            Open::Fence(fence) => {
                if !fence.closes(line) {
                    return Decision::default();
                }
                self.open = Open::Nothing;
                return Decision { ends_after: true, ..Decision::default() };
            }
            Open::Text { is_quote, formula } => {
                if ends_text(line, formula.is_some()) {
                    self.open = Open::Nothing;
                    return Decision { ends_after: true, ..Decision::default() };
                }
                text_goes_on(line, *is_quote, formula)
            }
            Open::Indented => line.trim().is_empty() || split_indent(line).0 >= 4,
            Open::List(list) => list.goes_on(line),
            Open::Footnote { after_blank } => footnote_goes_on(line, after_blank),
        };
        if goes_on {
            return Decision::default();
        }
        let ends_before = !self.is_idle();
        let ends_after = self.start(line);
        Decision { ends_before, ends_after }
    }

    /// Opens the block that a line starts. Returns whether the line is the whole block.
    fn start(&mut self, line: &str) -> bool {
        self.open = match start_of(line) {
            Start::Blank | Start::Heading | Start::Break => Open::Nothing,
            Start::Fence(fence) => Open::Fence(fence),
            Start::Quote => Open::Text { is_quote: true, formula: None },
            Start::Footnote => Open::Footnote { after_blank: false },
            Start::Item(item) => Open::List(List::new(&item)),
            Start::Indented => Open::Indented,
            Start::Text => Open::Text { is_quote: false, formula: opened_formula(line) },
        };
        self.is_idle() && !line.trim().is_empty()
    }
}

/// Returns whether a line ends a paragraph, table or quote and belongs to it: a blank line, or the line under a heading.
fn ends_text(line: &str, in_formula: bool) -> bool {
    let text = line.trim();
    text.is_empty() || (!in_formula && text.bytes().all(|byte| byte == b'-') && split_indent(line).0 < 4)
}

fn text_goes_on(line: &str, is_quote: bool, formula: &mut Option<&'static str>) -> bool {
    if let Some(end) = formula {
        if line.contains(*end) {
            *formula = None;
        }
        return true;
    }
    match start_of(line) {
        Start::Quote => is_quote,
        Start::Item(item) => !is_quote && !item.interrupts,
        Start::Text | Start::Indented => {
            *formula = opened_formula(line);
            true
        }
        Start::Blank | Start::Heading | Start::Break | Start::Fence(_) | Start::Footnote => false,
    }
}

fn footnote_goes_on(line: &str, after_blank: &mut bool) -> bool {
    let was_blank = std::mem::replace(after_blank, line.trim().is_empty());
    *after_blank || split_indent(line).0 >= 4 || (!was_blank && matches!(start_of(line), Start::Text))
}

/// Returns the end of a display formula that a line opens and doesn't close.
fn opened_formula(line: &str) -> Option<&'static str> {
    let text = line.trim_start();
    [("\\[", "\\]"), ("$$", "$$")]
        .iter()
        .find_map(|(open, close)| text.strip_prefix(open).filter(|rest| !rest.contains(close)).map(|_| *close))
}

impl List {
    fn new(item: &Item<'_>) -> Self {
        let mut list = Self {
            marker: item.marker,
            offset: item.offset,
            is_empty: item.content.trim().is_empty(),
            after_blank: false,
            fence: None,
            in_text: false,
        };
        list.content(item.content);
        list
    }

    fn goes_on(&mut self, line: &str) -> bool {
        if line.trim().is_empty() {
            if self.is_empty && !self.after_blank {
                // An item that begins with a blank line has no more content after another one.
                self.offset = usize::MAX;
            }
            (self.after_blank, self.in_text) = (true, false);
            return true;
        }
        let (indent, rest) = split_indent(line);
        if indent >= self.offset {
            self.after_blank = false;
            self.is_empty = false;
            self.content(rest);
            return true;
        }
        let continues_text = self.in_text && self.fence.is_none();
        match start_of(line) {
            Start::Item(item) if item.marker == self.marker => {
                *self = Self::new(&item);
                true
            }
            Start::Text | Start::Indented => continues_text,
            _ => false,
        }
    }

    /// Takes a line of the current item, without its indentation.
    fn content(&mut self, line: &str) {
        if let Some(fence) = &mut self.fence {
            if fence.closes(line) {
                self.fence = None;
            }
            self.in_text = false;
            return;
        }
        let mut rest = line;
        // Items and quotes within items, up to the depth that is rendered.
        for _ in 0..MAX_DEPTH {
            match start_of(rest) {
                Start::Item(item) => rest = item.content,
                Start::Quote => rest = rest.trim_start().get(1..).unwrap_or_default().trim_start_matches(' '),
                Start::Fence(fence) => {
                    self.fence = Some(fence);
                    self.in_text = false;
                    return;
                }
                Start::Blank | Start::Heading | Start::Break => {
                    self.in_text = false;
                    return;
                }
                Start::Footnote | Start::Indented | Start::Text => break,
            }
        }
        self.in_text = true;
    }
}

fn start_of(line: &str) -> Start<'_> {
    let (indent, rest) = split_indent(line);
    let text = rest.trim_end();
    if text.is_empty() {
        return Start::Blank;
    }
    if indent >= 4 {
        return Start::Indented;
    }
    if let Some(fence) = Fence::open(line) {
        return Start::Fence(fence);
    }
    let bytes = text.as_bytes();
    match bytes[0] {
        b'#' => {
            let level = bytes.iter().take_while(|byte| **byte == b'#').count();
            let is_heading = level <= 6 && bytes.get(level).is_none_or(|byte| matches!(byte, b' ' | b'\t'));
            return if is_heading { Start::Heading } else { Start::Text };
        }
        b'>' => return Start::Quote,
        b'[' if is_footnote(text) => return Start::Footnote,
        byte @ (b'-' | b'*' | b'_') if is_break(bytes, byte) => return Start::Break,
        _ => {}
    }
    item(indent, rest).map_or(Start::Text, Start::Item)
}

fn is_break(bytes: &[u8], byte: u8) -> bool {
    let marks = bytes.iter().filter(|other| **other == byte).count();
    marks >= 3 && bytes.iter().all(|other| *other == byte || matches!(other, b' ' | b'\t'))
}

fn is_footnote(text: &str) -> bool {
    let label = text.strip_prefix("[^").and_then(|rest| rest.split_once(']'));
    label.is_some_and(|(label, rest)| !label.trim().is_empty() && !label.contains('[') && rest.starts_with(':'))
}

/// Parses a list marker. `rest` is the line after its indentation.
fn item(indent: usize, rest: &str) -> Option<Item<'_>> {
    let bytes = rest.as_bytes();
    let digits = bytes.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    let (width, marker) = match bytes.get(digits)? {
        byte @ (b'-' | b'+' | b'*') if digits == 0 => (1, *byte),
        byte @ (b'.' | b')') if (1..=9).contains(&digits) => (digits + 1, *byte),
        _ => return None,
    };
    let after = &rest[width..];
    let base = indent + width;
    if after.trim().is_empty() {
        return Some(Item { marker, interrupts: false, offset: base + 1, content: "" });
    }
    if !after.starts_with([' ', '\t']) {
        return None;
    }
    let mut column = base;
    for byte in after.bytes().take_while(|byte| matches!(byte, b' ' | b'\t')) {
        column += if byte == b'\t' { 4 - column % 4 } else { 1 };
    }
    let is_code = column - base > 4;
    let interrupts = digits == 0 || rest[..digits].parse() == Ok(1_u32);
    let (offset, content) =
        if is_code { (base + 1, &after[1..]) } else { (column, after.trim_start_matches([' ', '\t'])) };
    Some(Item { marker, interrupts, offset, content })
}

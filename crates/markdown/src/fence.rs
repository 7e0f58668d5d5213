//! Fenced code blocks.

/// A fenced code block that is open.
#[derive(Clone, Debug)]
pub(crate) struct Fence {
    byte: u8,
    len: usize,
    /// Columns before the opening fence, which are removed from each line.
    indent: usize,
    /// What follows the opening fence.
    info: String,
    /// Length of a fence that was opened inside a block of Markdown.
    inner: Option<usize>,
}

impl Fence {
    /// Parses an opening fence.
    pub fn open(line: &str) -> Option<Self> {
        let (indent, rest) = split_indent(line);
        let byte = *rest.as_bytes().first().filter(|byte| indent < 4 && matches!(byte, b'`' | b'~'))?;
        let len = run(rest, byte);
        let info = rest[len..].trim();
        let is_fence = len >= 3 && !(byte == b'`' && info.contains('`'));
        is_fence.then(|| Self { byte, len, indent, info: info.to_owned(), inner: None })
    }

    /// Returns the language: the first word after the fence.
    pub fn language(&self) -> &str {
        language(&self.info)
    }

    /// Takes a complete line and returns whether it closes the block.
    ///
    /// A model that answers with a document puts it into a block of Markdown, and code blocks into that. A fence with a language therefore
    /// opens another level there, which the next fence without one closes.
    pub fn closes(&mut self, line: &str) -> bool {
        let (indent, rest) = split_indent(line);
        let len = if indent < 4 { run(rest, self.byte) } else { 0 };
        let is_bare = rest[len..].trim().is_empty();
        match self.inner {
            Some(inner) if len >= inner && is_bare => self.inner = None,
            Some(_) => {}
            None if len < self.len => {}
            None if is_bare => return true,
            None if self.is_markdown() && !(self.byte == b'`' && rest[len..].contains('`')) => self.inner = Some(len),
            None => {}
        }
        false
    }

    /// Returns whether a line that hasn't ended may still become the closing fence.
    pub fn may_close(&self, partial: &str) -> bool {
        partial.trim().bytes().all(|byte| byte == self.byte)
    }

    /// Removes the fence's indentation from a line.
    pub fn strip<'a>(&self, line: &'a str) -> &'a str {
        let spaces = line.bytes().take(self.indent).take_while(|byte| *byte == b' ').count();
        &line[spaces..]
    }

    fn is_markdown(&self) -> bool {
        ["markdown", "md"].iter().any(|name| self.language().eq_ignore_ascii_case(name))
    }
}

/// Returns the language of an info string.
pub(crate) fn language(info: &str) -> &str {
    info.trim().split([' ', '\t', ',', '{']).next().unwrap_or_default()
}

/// Returns the columns of a line's indentation, and the rest of the line.
pub(crate) fn split_indent(line: &str) -> (usize, &str) {
    let mut columns = 0;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b' ' => columns += 1,
            b'\t' => columns += 4 - columns % 4,
            _ => return (columns, &line[at..]),
        }
    }
    (columns, "")
}

fn run(text: &str, byte: u8) -> usize {
    text.bytes().take_while(|other| *other == byte).count()
}

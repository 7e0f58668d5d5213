//! Renders one answer while it arrives.

use crate::Update;
use crate::code::{Cache, Code, FOOT};
use crate::definitions::Definitions;
use crate::marks::clean;
use crate::segment::Segmenter;
use crate::write::{Context, Rendered, write};

/// Source of an open block, in bytes, above which it is rendered again only when it has grown by an eighth.
const LARGE: usize = 8192;

/// Renders one answer while it arrives.
///
/// The work per piece doesn't grow with the answer: finished blocks are never parsed again, and an open code block is highlighted line by
/// line. Only blocks that refer to a link or a footnote that is defined later are rendered again, at the end.
pub struct Stream {
    scope: String,
    /// Whether the source is a page of the site, not an answer.
    is_page: bool,
    segmenter: Segmenter,
    /// Source of the open block, ending with the line that hasn't ended. Lines of an open code block are removed.
    source: String,
    /// Where the last line begins.
    line: usize,
    after_return: bool,
    block: u32,
    /// The open block, if it is fenced code.
    code: Option<Code>,
    sent: Sent,
    /// Highlighted code within the open block.
    cache: Cache,
    definitions: Definitions,
    /// Finished blocks that name something undefined: number, source and names.
    unresolved: Vec<(u32, String, Vec<String>)>,
    updates: Vec<Update>,
    work: u64,
}

/// The part of the open block that was sent.
#[derive(Default)]
struct Sent {
    /// Its HTML; of fenced code only what follows the lines that are kept.
    html: String,
    /// Bytes before it that are kept.
    kept: usize,
    /// Bytes of the source that were rendered.
    source: usize,
}

impl Stream {
    /// Begins an answer. `scope`, a turn's id, prefixes the ids of footnotes.
    #[must_use]
    pub fn new(scope: &str) -> Self {
        Self {
            scope: scope.to_owned(),
            is_page: false,
            segmenter: Segmenter::default(),
            source: String::new(),
            line: 0,
            after_return: false,
            block: 0,
            code: None,
            sent: Sent::default(),
            cache: Cache::default(),
            definitions: Definitions::default(),
            unresolved: Vec::new(),
            updates: Vec::new(),
            work: 0,
        }
    }

    /// Begins a page of the site.
    pub(crate) fn page() -> Self {
        Self { is_page: true, ..Self::new("page") }
    }

    /// Adds a piece of the source.
    pub fn push(&mut self, delta: &str) {
        for c in delta.chars() {
            let is_second = std::mem::replace(&mut self.after_return, c == '\r') && c == '\n';
            match c {
                '\n' if is_second => {}
                '\r' | '\n' => {
                    self.source.push('\n');
                    self.end_line();
                }
                c => self.source.push(clean(c)),
            }
        }
    }

    /// Returns what changed since the last call, oldest block first.
    pub fn updates(&mut self) -> Vec<Update> {
        self.update_open();
        std::mem::take(&mut self.updates)
    }

    /// Ends the answer and returns what changed since the last call of `updates`, oldest block first.
    pub fn finish(&mut self) -> Vec<Update> {
        if self.source.len() > self.line {
            self.source.push('\n');
            self.end_line();
        }
        if !self.segmenter.is_idle() {
            self.end_block(self.source.len());
            self.segmenter = Segmenter::default();
        }
        for (block, source, names) in std::mem::take(&mut self.unresolved) {
            if names.iter().any(|name| self.definitions.defines(name)) {
                let rendered = self.render(&source, block, &mut Cache::default());
                self.definitions.count(&rendered.found);
                self.updates.push(Update { block, keep: 0, html: rendered.html });
            }
        }
        self.updates.sort_by_key(|update| update.block);
        std::mem::take(&mut self.updates)
    }

    /// Returns how many bytes were parsed or highlighted so far, counting those that were rendered again. For tests and benchmarks.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.work
    }

    /// Takes the last line, which has ended.
    fn end_line(&mut self) {
        let decision = self.segmenter.line(&self.source[self.line..]);
        if decision.ends_before {
            self.end_block(self.line);
        }
        match (self.segmenter.fence(), &mut self.code) {
            (Some(fence), Some(code)) => {
                let before = code.work;
                code.lines(fence.strip(&self.source));
                self.work += as_u64(code.work - before);
                self.source.clear();
            }
            (Some(fence), None) => {
                self.code = Some(Code::new(fence.language()));
                self.source.clear();
            }
            (None, _) => {}
        }
        if decision.ends_after {
            self.end_block(self.source.len());
        } else if self.segmenter.is_idle() {
            self.source.clear();
        }
        self.line = self.source.len();
    }

    /// Ends the open block, whose source ends at `end`.
    fn end_block(&mut self, end: usize) {
        let source: String = self.source.drain(..end).collect();
        self.line = self.line.saturating_sub(end);
        if let Some(code) = self.code.take() {
            self.send_code(&code, String::new());
        } else {
            let mut cache = std::mem::take(&mut self.cache);
            let Rendered { html, found, .. } = self.render(&source, self.block, &mut cache);
            self.definitions.add(self.block, &found);
            self.send(html);
            let is_undefined = |label: &String| !self.definitions.defines(label);
            let footnotes = found.mentions.iter().map(|label| format!("^{label}"));
            let names: Vec<String> = found.unresolved.iter().cloned().chain(footnotes).filter(is_undefined).collect();
            if !names.is_empty() {
                self.unresolved.push((self.block, source, names));
            }
        }
        self.sent = Sent::default();
        self.cache = Cache::default();
        self.block = self.block.saturating_add(1);
    }

    /// Renders the open block, if enough of it is new.
    fn update_open(&mut self) {
        if let Some(mut code) = self.code.take() {
            let partial = self.segmenter.fence().filter(|fence| !fence.may_close(&self.source));
            let partial = partial.map(|fence| fence.strip(&self.source).to_owned()).unwrap_or_default();
            let before = code.work;
            let partial = code.partial(&partial);
            self.work += as_u64(code.work - before);
            self.send_code(&code, partial);
            self.code = Some(code);
            return;
        }
        let end = if is_undecided(&self.source[self.line..]) { self.line } else { self.source.len() };
        let is_large = end > LARGE && self.sent.source > 0;
        if end == 0 || end == self.sent.source || (is_large && end < self.sent.source + self.sent.source / 8) {
            return;
        }
        let source = self.source[..end].to_owned();
        let mut cache = std::mem::take(&mut self.cache);
        let html = self.render(&source, self.block, &mut cache).html;
        self.cache = cache;
        self.send(html);
        self.sent.source = end;
    }

    fn render(&mut self, source: &str, block: u32, cache: &mut Cache) -> Rendered {
        let (scope, is_page) = (&self.scope, self.is_page);
        let context = Context { scope, block, is_page, definitions: &self.definitions };
        let rendered = write(source, &context, cache);
        self.work += as_u64(rendered.work);
        rendered
    }

    /// Sends the difference between the open block and the part of it that was sent.
    fn send(&mut self, html: String) {
        if html == self.sent.html {
            return;
        }
        let equal = html.bytes().zip(self.sent.html.bytes()).take_while(|(new, old)| new == old).count();
        let keep = (0..=equal).rev().find(|at| html.is_char_boundary(*at)).unwrap_or(0);
        self.push_update(keep, html[keep..].to_owned());
        self.sent.html = html;
    }

    /// Sends the lines of fenced code that are new, and the line that hasn't ended.
    fn send_code(&mut self, code: &Code, mut partial: String) {
        partial.push_str(FOOT);
        let kept = self.sent.kept;
        if kept == code.html().len() && partial == self.sent.html {
            return;
        }
        self.push_update(kept, format!("{}{partial}", &code.html()[kept..]));
        self.sent = Sent { html: partial, kept: code.html().len(), source: 0 };
    }

    fn push_update(&mut self, keep: usize, html: String) {
        // HTML of more than 4 GiB isn't reached: sources are bounded far below.
        let keep = u32::try_from(keep).unwrap_or(u32::MAX);
        self.updates.push(Update { block: self.block, keep, html });
    }
}

/// Returns whether a line that hasn't ended has only characters that may still become markup, so that showing them would flicker.
fn is_undecided(line: &str) -> bool {
    line.len() <= 64 && line.bytes().all(|byte| byte.is_ascii_digit() || b" \t-=*_+#~`|:>[]().$\\".contains(&byte))
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

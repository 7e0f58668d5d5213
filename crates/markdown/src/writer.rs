//! Turns the parser's events into HTML.

use crate::code::Cache;
use crate::definitions::Definitions;
use crate::fence;
use crate::link;
use crate::marks::{LESS, MATH_START, number, push_attribute, push_text, restore, split_char};
use crate::math;
use crate::prepare::{MAX_DEPTH, Prepared};
use crate::slug::slug;
use pulldown_cmark::{Alignment, CodeBlockKind, Event, LinkType, Tag, TagEnd};

/// The output of a block.
pub(crate) struct Written {
    pub html: String,
    /// Labels of the footnotes that it defines.
    pub footnotes: Vec<String>,
    /// Formulas that were drawn.
    pub formulas: usize,
    /// Bytes that were highlighted or drawn.
    pub work: usize,
}

/// Writes a block's HTML from the parser's events.
pub(crate) struct Writer<'a> {
    prepared: &'a Prepared,
    scope: &'a str,
    block: u32,
    /// Whether the source is a page of the site, not an answer.
    is_page: bool,
    definitions: &'a Definitions,
    cache: &'a mut Cache,
    out: String,
    /// Where the text of the open heading begins.
    heading_at: usize,
    /// Text that isn't written yet, because the parser splits it.
    text: String,
    work: usize,
    depth: usize,
    /// For each open link, whether it is written as a link.
    links: Vec<bool>,
    images: usize,
    alignments: Vec<Alignment>,
    column: usize,
    in_head: bool,
    /// The language and the text of the code block that is open.
    code: Option<(String, String)>,
    code_blocks: usize,
    /// Formulas that were drawn.
    formulas: usize,
    /// Labels of the footnotes that the block defines, and of those that are open.
    footnotes: Vec<String>,
    open_footnotes: Vec<String>,
    /// Labels of the footnotes that are referenced.
    referenced: Vec<String>,
}

impl<'a> Writer<'a> {
    /// Begins a block. `scope`, `block`, `is_page` and `definitions` are those of its context.
    pub fn new(
        prepared: &'a Prepared,
        scope: &'a str,
        block: u32,
        is_page: bool,
        definitions: &'a Definitions,
        cache: &'a mut Cache,
    ) -> Self {
        Self {
            prepared,
            scope,
            block,
            is_page,
            definitions,
            cache,
            out: String::with_capacity(prepared.text.len() * 3 / 2),
            heading_at: 0,
            text: String::new(),
            work: 0,
            depth: 0,
            links: Vec::new(),
            images: 0,
            alignments: Vec::new(),
            column: 0,
            in_head: false,
            code: None,
            code_blocks: 0,
            formulas: 0,
            footnotes: Vec::new(),
            open_footnotes: Vec::new(),
            referenced: Vec::new(),
        }
    }

    /// Ends the block.
    pub fn finish(mut self) -> Written {
        self.flush();
        Written { html: self.out, footnotes: self.footnotes, formulas: self.formulas, work: self.work }
    }

    /// Processes the parser's next event.
    pub fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => match &mut self.code {
                Some((_, code)) => code.push_str(&restore(&text, &self.prepared.math)),
                None => self.text.push_str(&text),
            },
            other => {
                self.flush();
                self.markup(other);
            }
        }
    }

    fn markup(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Code(text) => {
                let text = restore(&text, &self.prepared.math);
                self.out.push_str("<code dir=\"ltr\">");
                push_text(&mut self.out, &text);
                self.out.push_str("</code>");
            }
            Event::SoftBreak => self.out.push('\n'),
            Event::HardBreak => self.out.push_str("<br>\n"),
            Event::Rule => self.out.push_str("<hr>\n"),
            Event::TaskListMarker(is_checked) => {
                self.out.push_str("<input type=\"checkbox\" disabled aria-label=\"Task\"");
                self.out.push_str(if is_checked { " checked> " } else { "> " });
            }
            Event::FootnoteReference(label) => self.footnote_reference(&label),
            Event::Text(_) | Event::Html(_) | Event::InlineHtml(_) | Event::InlineMath(_) | Event::DisplayMath(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => self.open_text("p"),
            Tag::Heading { level, .. } => {
                self.open_text(&level.to_string());
                self.heading_at = self.out.len();
            }
            Tag::BlockQuote(_) => self.open("<blockquote dir=\"auto\">\n"),
            Tag::List(None) => self.open("<ul>\n"),
            Tag::List(Some(1)) => self.open("<ol>\n"),
            Tag::List(Some(first)) => self.open(&format!("<ol start=\"{first}\">\n")),
            Tag::Item => self.open("<li dir=\"auto\">"),
            Tag::Emphasis => self.open("<em>"),
            Tag::Strong => self.open("<strong>"),
            Tag::Strikethrough => self.open("<del>"),
            Tag::CodeBlock(kind) => {
                let language = match &kind {
                    CodeBlockKind::Fenced(info) => fence::language(&restore(info, &self.prepared.math)).to_owned(),
                    CodeBlockKind::Indented => String::new(),
                };
                self.code = Some((language, String::new()));
            }
            Tag::Table(alignments) => {
                self.alignments = alignments;
                let copy = "<button type=\"button\" class=\"quiet small\" data-csv>Copy as CSV</button>";
                let copy = if self.is_page { "" } else { copy };
                self.out.push_str(&format!("<div class=\"table-scroll\" tabindex=\"0\">{copy}<table>"));
            }
            Tag::TableHead => {
                (self.column, self.in_head) = (0, true);
                self.out.push_str("<thead><tr>");
            }
            Tag::TableRow => {
                self.column = 0;
                self.out.push_str("<tr>");
            }
            Tag::TableCell => self.cell(),
            Tag::Link { link_type, dest_url, .. } => self.link(link_type, &dest_url),
            // Loading an image could send parts of the conversation to its server, so only the alternative text is shown.
            Tag::Image { .. } => {
                self.images += 1;
                self.out.push_str("[image: ");
            }
            Tag::FootnoteDefinition(label) => self.footnote(&label),
            Tag::HtmlBlock
            | Tag::MetadataBlock(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Superscript
            | Tag::Subscript => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph => self.close("</p>\n"),
            TagEnd::Heading(level) => {
                if self.is_page && self.depth <= MAX_DEPTH {
                    let id = slug(&self.out[self.heading_at..]);
                    self.out.insert_str(self.heading_at - 1, &format!(" id=\"{id}\""));
                }
                self.close(&format!("</{level}>\n"));
            }
            TagEnd::BlockQuote(_) => self.close("</blockquote>\n"),
            TagEnd::List(false) => self.close("</ul>\n"),
            TagEnd::List(true) => self.close("</ol>\n"),
            TagEnd::Item => self.close("</li>\n"),
            TagEnd::Emphasis => self.close("</em>"),
            TagEnd::Strong => self.close("</strong>"),
            TagEnd::Strikethrough => self.close("</del>"),
            TagEnd::CodeBlock => {
                if let Some((language, text)) = self.code.take() {
                    let (html, work) = self.cache.html(self.code_blocks, &language, &text);
                    self.out.push_str(&html);
                    self.work += work;
                    self.code_blocks += 1;
                }
            }
            TagEnd::Table => self.out.push_str("</tbody></table></div>\n"),
            TagEnd::TableHead => {
                self.in_head = false;
                self.out.push_str("</tr></thead><tbody>");
            }
            TagEnd::TableRow => self.out.push_str("</tr>"),
            TagEnd::TableCell => self.out.push_str(if self.in_head { "</th>" } else { "</td>" }),
            TagEnd::Link => {
                if self.links.pop() == Some(true) {
                    self.out.push_str("</a>");
                }
            }
            TagEnd::Image => {
                self.images -= 1;
                self.out.push(']');
            }
            TagEnd::FootnoteDefinition => self.end_footnote(),
            TagEnd::HtmlBlock
            | TagEnd::MetadataBlock(_)
            | TagEnd::DefinitionList
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition
            | TagEnd::Superscript
            | TagEnd::Subscript => {}
        }
    }

    /// Opens an element, unless it is nested too deep.
    fn open(&mut self, html: &str) {
        self.depth += 1;
        if self.depth <= MAX_DEPTH {
            self.out.push_str(html);
        }
    }

    /// Opens a paragraph or a heading. Within an item, a quote or a footnote it has no direction of its own: browsers take that of the outer
    /// element from the text in it that has none.
    fn open_text(&mut self, name: &str) {
        let direction = if self.depth == 0 { " dir=\"auto\"" } else { "" };
        self.open(&format!("<{name}{direction}>"));
    }

    fn close(&mut self, html: &str) {
        if self.depth <= MAX_DEPTH {
            self.out.push_str(html);
        }
        self.depth -= 1;
    }

    /// The Content-Security-Policy forbids style attributes, so cells are aligned by classes.
    fn cell(&mut self) {
        let alignment = self.alignments.get(self.column).copied().unwrap_or(Alignment::None);
        self.column += 1;
        self.out.push_str(if self.in_head { "<th dir=\"auto\"" } else { "<td dir=\"auto\"" });
        self.out.push_str(match alignment {
            Alignment::Right => " class=\"end\">",
            Alignment::Center => " class=\"center\">",
            Alignment::None | Alignment::Left => ">",
        });
    }

    fn link(&mut self, kind: LinkType, url: &str) {
        let mut url = restore(url, &self.prepared.math).into_owned();
        if kind == LinkType::Email {
            url.insert_str(0, "mailto:");
        }
        let is_allowed = link::is_safe(&url) || (self.is_page && link::is_local(&url));
        let is_written = is_allowed && self.images == 0 && !self.links.contains(&true);
        self.links.push(is_written);
        if is_written {
            link::open(&mut self.out, &url, self.is_page);
        }
    }

    fn footnote(&mut self, label: &str) {
        self.depth += 1;
        let label = restore(label, &self.prepared.math).into_owned();
        let has_id = !self.footnotes.contains(&label) && !self.definitions.footnote_elsewhere(&label, self.block);
        self.out.push_str("<div class=\"footnote\" dir=\"auto\"");
        if has_id {
            self.out.push_str(" id=\"");
            self.push_id("fn", &label);
            self.out.push('"');
        }
        self.out.push_str("><span class=\"footnote-label\">");
        push_text(&mut self.out, &label);
        self.out.push_str("</span> ");
        self.footnotes.push(label.clone());
        self.open_footnotes.push(label);
    }

    fn end_footnote(&mut self) {
        self.depth -= 1;
        let label = self.open_footnotes.pop().unwrap_or_default();
        self.out.push_str("<a href=\"#");
        self.push_id("fnref", &label);
        self.out.push_str("\" aria-label=\"Back to the text\">↩</a></div>\n");
    }

    fn footnote_reference(&mut self, label: &str) {
        let label = restore(label, &self.prepared.math).into_owned();
        self.out.push_str("<sup class=\"footnote-reference\"");
        if !self.referenced.contains(&label) && self.definitions.is_first_mention(&label, self.block) {
            self.out.push_str(" id=\"");
            self.push_id("fnref", &label);
            self.out.push('"');
        }
        self.out.push_str("><a href=\"#");
        self.push_id("fn", &label);
        self.out.push_str("\">");
        push_text(&mut self.out, &label);
        self.out.push_str("</a></sup>");
        self.referenced.push(label);
    }

    /// Appends the id of a footnote. Characters that could mean something in an id or a URL are written as numbers.
    fn push_id(&mut self, kind: &str, label: &str) {
        self.out.push_str(kind);
        self.out.push('-');
        push_attribute(&mut self.out, self.scope);
        self.out.push('-');
        for c in label.to_lowercase().chars() {
            if c.is_ascii_alphanumeric() || c == '-' {
                self.out.push(c);
            } else {
                self.out.push_str(&format!("_{:x}", u32::from(c)));
            }
        }
    }

    /// Writes the text that was collected, with URLs in it as links.
    fn flush(&mut self) {
        let text = std::mem::take(&mut self.text);
        let mut at = 0;
        if self.links.is_empty() && self.images == 0 {
            while let Some(range) = link::find_bare(&text, at) {
                self.inline(&text[at..range.start]);
                let url = &text[range.clone()];
                link::open(&mut self.out, url, self.is_page);
                push_text(&mut self.out, url);
                self.out.push_str("</a>");
                at = range.end;
            }
        }
        self.inline(&text[at..]);
    }

    /// Writes text with formulas and line breaks.
    fn inline(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.find([LESS, MATH_START]) {
            push_text(&mut self.out, &rest[..at]);
            let (mark, after) = split_char(&rest[at..]);
            rest = after;
            if mark == MATH_START {
                let (index, after) = number(rest);
                rest = after;
                self.formula(index.unwrap_or(usize::MAX));
            } else if let Some(after) = ["br>", "br/>", "br />"].iter().find_map(|tag| rest.strip_prefix(tag)) {
                self.out.push_str("<br>");
                rest = after;
            } else {
                self.out.push_str("&lt;");
            }
        }
        push_text(&mut self.out, rest);
    }

    fn formula(&mut self, index: usize) {
        let Some(formula) = self.prepared.math.get(index) else { return };
        let is_drawn = self.formulas < self.definitions.formulas_left();
        let html = is_drawn.then(|| math::mathml(&formula.tex, formula.is_display)).flatten();
        self.formulas += usize::from(is_drawn);
        if let Some(html) = html {
            self.work += formula.tex.len();
            self.out.push_str(&html);
        } else {
            self.out.push_str("<code class=\"math\" dir=\"ltr\">");
            push_text(&mut self.out, &formula.source);
            self.out.push_str("</code>");
        }
    }
}

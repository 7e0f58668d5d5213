//! Messages of users: shown as typed, except for fenced code.

use crate::code::{Code, FOOT};
use crate::fence::Fence;
use crate::marks::{clean, push_text};

/// Renders a user's own message: line breaks are kept, fenced code blocks are code, and everything else is literal text.
#[must_use]
pub fn render_message(source: &str) -> String {
    let source: String = source.replace("\r\n", "\n").chars().map(clean).collect();
    let mut html = String::with_capacity(source.len() + 64);
    let mut paragraph = Vec::new();
    let mut lines = source.trim_matches('\n').lines();
    while let Some(line) = lines.next() {
        if let Some(mut fence) = Fence::open(line) {
            end_paragraph(&mut html, &mut paragraph);
            let mut code = Code::new(fence.language());
            for line in lines.by_ref() {
                if fence.closes(line) {
                    break;
                }
                code.lines(&format!("{}\n", fence.strip(line)));
            }
            html.push_str(code.html());
            html.push_str(FOOT);
        } else if line.trim().is_empty() {
            end_paragraph(&mut html, &mut paragraph);
        } else {
            paragraph.push(line);
        }
    }
    end_paragraph(&mut html, &mut paragraph);
    html
}

fn end_paragraph(html: &mut String, lines: &mut Vec<&str>) {
    if lines.is_empty() {
        return;
    }
    html.push_str("<p dir=\"auto\">");
    for (index, line) in lines.drain(..).enumerate() {
        if index > 0 {
            html.push_str("<br>\n");
        }
        push_text(html, line.trim_end());
    }
    html.push_str("</p>\n");
}

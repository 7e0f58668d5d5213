//! Renders Markdown as HTML on the server, block by block while it arrives.
//!
//! The source is untrusted: HTML in it is shown as text, links are limited to a few schemes, images are never loaded, and neither style
//! attributes nor event handlers are written. [`render`] is built from [`Stream`], so an answer that was streamed and the same answer
//! loaded later have the same HTML.
//!
//! `fence` and `segment` find blocks by complete lines. `prepare` rewrites a block for the parser (`pulldown-cmark`): formulas, HTML and
//! emphasis in Chinese, Japanese and Korean. `writer` turns the parser's events into HTML; `code` highlights code, `math` draws formulas.

mod code;
mod definitions;
mod fence;
mod highlight;
mod link;
mod marks;
mod math;
mod math_span;
mod message;
mod prepare;
mod segment;
mod slug;
mod stream;
mod title;
mod write;
mod writer;

pub use message::render_message;
pub use stream::Stream;
pub use title::{plain_text, plain_title};

use serde::{Deserialize, Serialize};

/// Version of the HTML that this crate writes. It is stored with the HTML, and incremented whenever the output changes.
pub const VERSION: i16 = 3;

/// A change of one block's HTML.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The block, counted from zero. A block is one or several top-level elements.
    pub block: u32,
    /// Bytes of the block's previous HTML that are kept, at a character boundary; zero for a block that wasn't sent before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub keep: u32,
    /// The HTML that follows them.
    pub html: String,
}

fn is_zero(keep: &u32) -> bool {
    *keep == 0
}

impl Update {
    /// Applies the update to the HTML of an answer's blocks.
    pub fn apply(&self, blocks: &mut Vec<String>) {
        let (Ok(block), Ok(keep)) = (usize::try_from(self.block), usize::try_from(self.keep)) else { return };
        if blocks.len() <= block {
            blocks.resize(block + 1, String::new());
        }
        blocks[block].truncate(keep);
        blocks[block].push_str(&self.html);
    }
}

/// Renders a whole answer. `scope`, a turn's id, prefixes the ids of footnotes.
#[must_use]
pub fn render(source: &str, scope: &str) -> String {
    whole(Stream::new(scope), source)
}

/// Renders a page of the site. Unlike an answer, it may link to pages of the site, its links open in place, its headings have ids, and its
/// tables can be read without script. HTML in it is text, as in answers.
#[must_use]
pub fn render_page(source: &str) -> String {
    whole(Stream::page(), source)
}

fn whole(mut stream: Stream, source: &str) -> String {
    stream.push(source);
    let mut blocks = Vec::new();
    for update in stream.finish() {
        update.apply(&mut blocks);
    }
    blocks.concat()
}

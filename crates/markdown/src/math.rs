//! Draws formulas as MathML.

use pulldown_latex::config::{DisplayMode, RenderConfig};
use pulldown_latex::{Parser, Storage, push_mathml};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Longest formula that is drawn, in bytes.
const MAX_LEN: usize = 4096;
/// Deepest nesting of groups that is drawn; the parser calls itself for each.
const MAX_NESTING: usize = 40;
/// Most parts a formula is drawn from.
const MAX_EVENTS: usize = 20_000;
/// Commands that define others, with which a short formula could grow without end.
const DEFINITIONS: [&str; 5] = ["\\def", "\\let", "\\newcommand", "\\renewcommand", "\\providecommand"];
/// Elements of MathML that are written.
const ELEMENTS: [&str; 24] = [
    "math",
    "mrow",
    "mi",
    "mo",
    "mn",
    "ms",
    "mtext",
    "mfrac",
    "msqrt",
    "mroot",
    "msub",
    "msup",
    "msubsup",
    "munder",
    "mover",
    "munderover",
    "mtable",
    "mtr",
    "mtd",
    "mspace",
    "mpadded",
    "mphantom",
    "mmultiscripts",
    "mprescripts",
];

/// Attributes of MathML that are written, or removed again.
const ATTRIBUTES: [&str; 17] = [
    "class",
    "depth",
    "display",
    "displaystyle",
    "height",
    "largeop",
    "linethickness",
    "mathvariant",
    "maxsize",
    "minsize",
    "movablelimits",
    "scriptlevel",
    "stretchy",
    "style",
    "symmetric",
    "width",
    "xmlns",
];

/// Returns a formula as MathML, or `None` if it can't be drawn.
pub(crate) fn mathml(tex: &str, is_display: bool) -> Option<String> {
    if tex.len() > MAX_LEN || nesting(tex) > MAX_NESTING || DEFINITIONS.iter().any(|name| tex.contains(name)) {
        return None;
    }
    // The parser doesn't support boxes, so only their content is drawn.
    let tex = tex.replace("\\boxed", "");
    // The parser is not ours and its input is untrusted: a formula that it panics on is shown as source.
    catch_unwind(AssertUnwindSafe(|| draw(&tex, is_display))).ok().flatten().and_then(|html| checked(&html))
}

fn draw(tex: &str, is_display: bool) -> Option<String> {
    let storage = Storage::new();
    let mut events = Vec::new();
    for event in Parser::new(tex, &storage) {
        if events.len() == MAX_EVENTS {
            return None;
        }
        events.push(Ok::<_, std::convert::Infallible>(event.ok()?));
    }
    let display_mode = if is_display { DisplayMode::Block } else { DisplayMode::Inline };
    let mut html = String::new();
    push_mathml(&mut html, events.into_iter(), RenderConfig { display_mode, ..RenderConfig::default() }).ok()?;
    Some(html)
}

/// Returns how deep groups are nested at most.
fn nesting(tex: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = tex;
    while let Some(at) = rest.find(['{', '}', '\\', '^', '_']) {
        let (name, after) = rest[at..].split_at(1);
        rest = after;
        match name {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            "\\" if rest.starts_with("left") || rest.starts_with("begin") => depth += 1,
            "\\" if rest.starts_with("right") || rest.starts_with("end") => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Returns MathML without style attributes and with its text escaped, or `None` if it has an element that isn't MathML. The renderer writes
/// operators as they are, also `<`.
fn checked(html: &str) -> Option<String> {
    let mut out = String::with_capacity(html.len() + 16);
    for (index, piece) in html.split('<').enumerate() {
        if index == 0 || !piece.starts_with(|c: char| c == '/' || c.is_ascii_alphabetic()) {
            if index > 0 {
                out.push_str("&lt;");
            }
            push_escaped(&mut out, piece);
            continue;
        }
        let (tag, text) = piece.split_once('>')?;
        let name = tag.trim_start_matches('/').split([' ', '/']).next()?;
        if !ELEMENTS.contains(&name)
            || !has_known_attributes(&tag[tag.len() - tag.trim_start_matches('/').len() + name.len()..])
        {
            return None;
        }
        out.push('<');
        // The renderer leaves out the space before this attribute.
        let tag = tag.replace("\"minsize", "\" minsize");
        out.push_str(&without_attribute(&without_attribute(&tag, " style=\""), " xmlns=\""));
        out.push('>');
        push_escaped(&mut out, text);
    }
    Some(out)
}

/// Appends text in which only some characters are escaped.
fn push_escaped(out: &mut String, text: &str) {
    for (index, piece) in text.split('&').enumerate() {
        if index > 0 {
            let is_escaped = ["amp;", "lt;", "gt;", "nbsp;"].iter().any(|name| piece.starts_with(name));
            out.push_str(if is_escaped { "&" } else { "&amp;" });
        }
        out.push_str(&piece.replace('>', "&gt;"));
    }
}

/// Returns whether attributes are all such as the renderer writes. Names of functions are written as they are, and might hold others.
fn has_known_attributes(attributes: &str) -> bool {
    attributes.split('"').step_by(2).all(|name| {
        let name = name.trim_matches([' ', '/', '=']);
        name.is_empty() || ATTRIBUTES.contains(&name)
    })
}

fn without_attribute(tag: &str, attribute: &str) -> String {
    let Some((before, value)) = tag.split_once(attribute) else { return tag.to_owned() };
    let after = value.split_once('"').map_or("", |(_, after)| after);
    format!("{before}{after}")
}

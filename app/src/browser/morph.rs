//! Applies updates of a response's HTML to the page. Nodes that stay the same are not touched, so that selection, focus and scroll
//! positions within a response survive while it streams.

use super::dom::PageElement;
use wasm_bindgen::JsCast as _;
use web_sys::{Element, HtmlTemplateElement, Node, Text};

/// A change of one block's HTML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The block's number, from 0.
    pub block: usize,
    /// Bytes of the block's previous HTML that are kept.
    pub keep: usize,
    /// The HTML that follows them.
    pub html: String,
}

/// Attributes that the page sets on rendered HTML. They survive updates.
const OWN_ATTRIBUTES: [&str; 3] = ["data-wrapped", "data-done", "aria-pressed"];
/// How the HTML of a code block begins.
const CODE_BLOCK: &str = "<figure class=\"code\"";
/// The end of the code in it. Code is escaped, so this occurs once.
const CODE_END: &str = "</code>";

/// The blocks of a response on the page.
#[derive(Debug)]
pub struct Blocks {
    parent: Element,
    blocks: Vec<Block>,
}

#[derive(Debug, Default)]
struct Block {
    html: String,
    nodes: Vec<Node>,
}

impl Blocks {
    /// Creates the blocks of a response that is shown in this empty element.
    #[must_use]
    pub fn new(parent: &PageElement) -> Self {
        Self { parent: parent.0.clone(), blocks: Vec::new() }
    }

    /// Returns whether there is text in the response.
    #[must_use]
    pub fn has_text(&self) -> bool {
        self.parent.text_content().is_some_and(|text| !text.trim().is_empty())
    }

    /// Applies an update.
    pub fn apply(&mut self, update: &Update) {
        while self.blocks.len() <= update.block {
            self.blocks.push(Block::default());
        }
        let end = self.blocks[update.block + 1..].iter().find_map(|block| block.nodes.first().cloned());
        let block = &mut self.blocks[update.block];
        if block.append_code(update) {
            return;
        }
        let keep = if block.html.is_char_boundary(update.keep) { update.keep } else { 0 };
        block.html.truncate(keep);
        block.html.push_str(&update.html);
        block.nodes = morph(&self.parent, std::mem::take(&mut block.nodes), parse(&block.html), end.as_ref());
    }
}

impl Block {
    /// Applies an update that only changes the end of a code block, with work that doesn't grow with the block. Returns `false` if the
    /// update is of another kind.
    fn append_code(&mut self, update: &Update) -> bool {
        let (Some(kept), Some(old)) = (self.html.get(..update.keep), self.html.get(update.keep..)) else {
            return false;
        };
        // At the end of a line of code, the HTML is neither within a tag nor within a character reference.
        let is_open = kept.starts_with(CODE_BLOCK) && kept.ends_with('\n') && kept.contains("<code");
        let (Some((old, old_end)), Some((new, new_end))) = (old.split_once(CODE_END), update.html.split_once(CODE_END))
        else {
            return false;
        };
        let figure = self.nodes.first().and_then(|node| node.dyn_ref::<Element>());
        let code = figure.and_then(|figure| figure.query_selector("code").ok()?);
        let Some(code) = code.filter(|_| is_open && old_end == new_end) else { return false };
        let added = match new.strip_prefix(old) {
            Some(added) => added,
            None if remove_end(&code, text_length(&parse(old))) => new,
            None => return false,
        };
        append(&code, parse(added));
        self.html.truncate(update.keep);
        self.html.push_str(&update.html);
        true
    }
}

/// Parses HTML that the server has rendered. It isn't in the page yet, so it loads and runs nothing.
fn parse(html: &str) -> Vec<Node> {
    let template = web_sys::window()
        .and_then(|window| window.document()?.create_element("template").ok())
        .and_then(|template| template.dyn_into::<HtmlTemplateElement>().ok());
    template.map_or_else(Vec::new, |template| {
        template.set_inner_html(html);
        children(&template.content())
    })
}

fn children(node: &Node) -> Vec<Node> {
    std::iter::successors(node.first_child(), Node::next_sibling).collect()
}

/// Returns the length of the nodes' text in UTF-16 code units, which is how the browser counts.
fn text_length(nodes: &[Node]) -> usize {
    nodes.iter().map(|node| node.text_content().unwrap_or_default().encode_utf16().count()).sum()
}

/// Removes text of this length from the end of an element, whole nodes or a part of a text. Returns `false` if its end is neither.
fn remove_end(element: &Element, length: usize) -> bool {
    let mut left = length;
    while left > 0 {
        let Some(last) = element.last_child() else { return false };
        let has = text_length(std::slice::from_ref(&last));
        if has <= left {
            let _ = element.remove_child(&last);
            left -= has;
            continue;
        }
        let (Some(text), Ok(offset), Ok(count)) =
            (last.dyn_ref::<Text>(), u32::try_from(has - left), u32::try_from(left))
        else {
            return false;
        };
        let _ = text.delete_data(offset, count);
        left = 0;
    }
    true
}

fn append(element: &Element, nodes: Vec<Node>) {
    for node in nodes {
        let last = element.last_child();
        match (last.as_ref().and_then(|last| last.dyn_ref::<Text>()), node.dyn_ref::<Text>()) {
            (Some(last), Some(text)) => drop(last.append_data(&text.data())),
            _ => drop(element.append_child(&node)),
        }
    }
}

/// Turns the nodes `old` of a parent into copies of `new` and returns them. `end` is the node that follows them.
fn morph(parent: &Node, old: Vec<Node>, new: Vec<Node>, end: Option<&Node>) -> Vec<Node> {
    let mut old = old.into_iter();
    let mut nodes = Vec::with_capacity(new.len());
    for wanted in new {
        nodes.push(match old.next() {
            Some(current) => morph_node(parent, current, wanted),
            None => {
                let _ = parent.insert_before(&wanted, end);
                wanted
            }
        });
    }
    for rest in old {
        let _ = parent.remove_child(&rest);
    }
    nodes
}

fn morph_node(parent: &Node, current: Node, wanted: Node) -> Node {
    if current.is_equal_node(Some(&wanted)) {
        return current;
    }
    if let (Some(text), Some(new)) = (current.dyn_ref::<Text>(), wanted.dyn_ref::<Text>()) {
        let (old, new) = (text.data(), new.data());
        match new.strip_prefix(&old) {
            Some(added) => drop(text.append_data(added)),
            None => text.set_data(&new),
        }
        return current;
    }
    if let (Some(element), Some(new)) = (current.dyn_ref::<Element>(), wanted.dyn_ref::<Element>())
        && element.tag_name() == new.tag_name()
    {
        copy_attributes(new, element);
        morph(element, children(element), children(new), None);
        return current;
    }
    let _ = parent.replace_child(&wanted, &current);
    wanted
}

fn copy_attributes(from: &Element, to: &Element) {
    let names = |element: &Element| -> Vec<String> {
        element.get_attribute_names().iter().filter_map(|name| name.as_string()).collect()
    };
    for name in names(to) {
        if !from.has_attribute(&name) && !OWN_ATTRIBUTES.contains(&name.as_str()) {
            let _ = to.remove_attribute(&name);
        }
    }
    for name in names(from) {
        let value = from.get_attribute(&name);
        if to.get_attribute(&name) != value && !OWN_ATTRIBUTES.contains(&name.as_str()) {
            let _ = to.set_attribute(&name, &value.unwrap_or_default());
        }
    }
}

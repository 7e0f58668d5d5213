//! Updates the parts of the page outside the chat: the URL, the title, the sidebar and the button that deletes the conversation.

use super::dom::{self, PageElement};
use wasm_bindgen::JsValue;

/// Updates the page for a new conversation that has just got its id, without a page load.
pub fn show_new_conversation(id: &str, title: &str) {
    let Some(window) = web_sys::window() else { return };
    let href = format!("/chat/{id}");
    if let Ok(history) = window.history() {
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&href));
    }
    if let Some(document) = window.document() {
        document.set_title(&format!("{title} · {}", domain::brand::NAME));
    }
    if let Some(heading) = dom::element("title") {
        heading.set_text(title);
    }
    if let Some(form) = dom::element("delete-form") {
        form.set("action", &format!("{href}/delete"));
    }
    if let Some(button) = dom::element("delete-button") {
        button.show(true);
    }
    if let Some(next) = dom::element("theme-next") {
        next.set("value", &href);
    }
    add_sidebar_entry(&href, title);
}

fn add_sidebar_entry(href: &str, title: &str) {
    if let Some(group) = dom::element("today-group") {
        group.show(true);
    }
    let entry = (dom::element("today"), PageElement::create("li"), PageElement::create("a"));
    if let (Some(list), Some(item), Some(link)) = entry {
        link.set("href", href);
        link.set("aria-current", "page");
        link.set("title", title);
        link.set_text(title);
        item.append(&link);
        list.prepend(&item);
    }
}

/// Opens another page.
pub fn open(path: &str) {
    if let Some(window) = web_sys::window() {
        // Fails only if the browser refuses to leave the page.
        let _ = window.location().set_href(path);
    }
}

/// Returns the element that the page's address names after `#`.
#[must_use]
pub fn target() -> Option<PageElement> {
    let hash = web_sys::window()?.location().hash().ok()?;
    dom::element(hash.strip_prefix('#')?)
}

/// Returns whether the browser knows that it has no connection.
#[must_use]
pub fn is_offline() -> bool {
    web_sys::window().is_some_and(|window| !window.navigator().on_line())
}

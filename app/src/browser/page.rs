//! Updates the parts of the page outside the chat: the URL, the title, the sidebar, and what the bar does with the conversation.

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
    for (id, attribute, end) in [
        ("share-form", "action", "share"),
        ("export-md", "href", "export?format=md"),
        ("export-json", "href", "export?format=json"),
    ] {
        if let Some(element) = dom::element(id) {
            element.set(attribute, &format!("{href}/{end}"));
        }
    }
    for id in ["share-button", "delete-button"] {
        if let Some(button) = dom::element(id) {
            button.show(true);
        }
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

/// Returns whether the browser knows that it has no connection.
#[must_use]
pub fn is_offline() -> bool {
    web_sys::window().is_some_and(|window| !window.navigator().on_line())
}

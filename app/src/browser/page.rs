//! Updates the parts of the page outside the chat: the URL, the title, the sidebar, and what the bar does with the conversation.

use super::dom::{self, PageElement};
use wasm_bindgen::JsValue;

/// Updates the page for a new conversation that has just got its id, without a page load. `is_listed` adds it to the sidebar.
pub fn show_new_conversation(id: &str, title: &str, is_listed: bool) {
    let Some(window) = web_sys::window() else { return };
    let href = format!("/chat/{id}");
    if let Ok(history) = window.history() {
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&href));
    }
    show_title(title);
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
    if is_listed {
        add_sidebar_entry(id, title);
    }
}

/// Shows the title of the open conversation.
pub fn show_title(title: &str) {
    if let Some(document) = web_sys::window().and_then(|window| window.document()) {
        document.set_title(&format!("{title} · {}", domain::brand::NAME));
    }
    if let Some(heading) = dom::element("title") {
        heading.set_text(title);
    }
}

/// Shows the title that a model wrote for the open conversation, unless another one is open by now.
pub fn show_written_title(id: &str, title: &str) {
    if let Some(link) = dom::first(&format!("#conversations [data-entry=\"{id}\"] .entry-link")) {
        link.set_text(title);
        link.set("title", title);
    }
    show_title(title);
}

/// Removes the query from the page's URL, so that a reload doesn't repeat its effect.
pub fn clear_query() {
    let Some(window) = web_sys::window() else { return };
    if let (Ok(path), Ok(history)) = (window.location().pathname(), window.history()) {
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&path));
    }
}

/// Returns the link to the sign-in page that leads back to this page.
#[must_use]
pub fn sign_in_href() -> Option<String> {
    let location = web_sys::window()?.location();
    let here = format!("{}{}", location.pathname().ok()?, location.search().ok()?);
    Some(format!("/sign-in?next={}", String::from(js_sys::encode_uri_component(&here))))
}

/// Goes to another page.
pub fn go(href: &str) {
    if let Some(window) = web_sys::window() {
        let _ = window.location().assign(href);
    }
}

fn add_sidebar_entry(id: &str, title: &str) {
    if let Some(group) = dom::element("today-group") {
        group.show(true);
    }
    let (Some(list), Some(row)) = (dom::element("today"), dom::from_template("new-row", ".entry")) else { return };
    row.set("data-entry", id);
    if let Some(link) = row.find(".entry-link") {
        link.set("href", &format!("/chat/{id}"));
        link.set("title", title);
        link.set_text(title);
    }
    if let Some(options) = row.find(".entry-options") {
        options.set("href", &format!("/chat/{id}/edit"));
    }
    list.prepend(&row);
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

/// Returns whether the browser reports that it is offline.
#[must_use]
pub fn is_offline() -> bool {
    web_sys::window().is_some_and(|window| !window.navigator().on_line())
}

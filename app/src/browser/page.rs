//! Reads and updates parts of the page outside the chat island, such as the URL, title and sidebar.

use domain::{ConversationId, TurnId};
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::HtmlElement;

/// Updates the URL and title for a new conversation and adds it to the sidebar, without a page load.
pub fn show_new_conversation(id: ConversationId, title: &str) {
    let Some(window) = web_sys::window() else { return };
    let href = format!("/chat/{id}");
    if let Ok(history) = window.history() {
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&href));
    }
    if let Some(document) = window.document() {
        document.set_title(&format!("{title} · {}", domain::brand::NAME));
        if let Ok(Some(heading)) = document.query_selector(".chat-bar h1") {
            heading.set_text_content(Some(title));
        }
        let _ = add_sidebar_entry(&document, &href, title);
    }
}

fn add_sidebar_entry(document: &web_sys::Document, href: &str, title: &str) -> Result<(), JsValue> {
    let Some(list) = document.get_element_by_id("conversations") else {
        return Ok(());
    };
    let (item, link) = (document.create_element("li")?, document.create_element("a")?);
    link.set_attribute("href", href)?;
    link.set_attribute("aria-current", "page")?;
    link.set_text_content(Some(title));
    item.append_child(&link)?;
    list.prepend_with_node_1(&item)
}

/// Focuses an element, except on touch devices, where this would open the on-screen keyboard.
pub fn focus(element: &HtmlElement) {
    let is_touch = web_sys::window().is_some_and(|window| window.navigator().max_touch_points() > 0);
    if !is_touch {
        let _ = element.focus();
    }
}

/// Returns the current value of the form control with this id, or `None` if it is missing or empty.
#[must_use]
pub fn value_of(id: &str) -> Option<String> {
    let element = web_sys::window()?.document()?.get_element_by_id(id)?;
    let value = js_sys::Reflect::get(&element, &"value".into()).ok()?.as_string()?;
    Some(value).filter(|value| !value.is_empty())
}

/// Returns the turn to regenerate if the click was on an earlier response's Regenerate button.
#[must_use]
pub fn turn_to_regenerate(event: &web_sys::Event) -> Option<TurnId> {
    let target = event.target()?.dyn_into::<web_sys::Element>().ok()?;
    target.closest("[data-again]").ok()??.get_attribute("data-again")?.parse().ok()
}

/// Removes a server-rendered response that a newer one has superseded.
pub fn remove_answer(turn: TurnId) {
    let find = || web_sys::window()?.document()?.query_selector(&format!("[data-turn=\"{turn}\"]")).ok()?;
    if let Some(answer) = find() {
        answer.remove();
    }
}

/// Reloads the page, whose transcript then includes turns that ended while disconnected.
pub fn reload() {
    if let Some(window) = web_sys::window() {
        let _ = window.location().reload();
    }
}

//! The address, the title and the sidebar, when a turn begins a conversation.

use domain::ConversationId;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::HtmlElement;

/// Gives a new conversation its address and its line in the sidebar, without leaving the page.
pub fn conversation_began(id: ConversationId, title: &str) {
    let Some(window) = web_sys::window() else { return };
    let href = format!("/chat/{id}");
    if let Ok(history) = window.history() {
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&href));
    }
    if let Some(document) = window.document() {
        let _ = add_line(&document, &href, title);
    }
}

fn add_line(document: &web_sys::Document, href: &str, title: &str) -> Result<(), JsValue> {
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

/// Whether the person asked for less motion or not, focus belongs in the composer when a page opens on a desktop.
pub fn focus(element: &HtmlElement) {
    let is_touch = web_sys::window().is_some_and(|window| window.navigator().max_touch_points() > 0);
    if !is_touch {
        let _ = element.focus();
    }
}

/// Sends a form as its own button would.
pub fn submit(form: &web_sys::HtmlFormElement) {
    let _ = form.unchecked_ref::<web_sys::HtmlFormElement>().request_submit();
}

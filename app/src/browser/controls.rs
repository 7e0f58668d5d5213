//! Popovers, fields and links: what lists on the page need in addition to `dom`.

use super::dom::{PageElement, PageEvent};
use js_sys::Reflect;
use wasm_bindgen::JsCast as _;
use web_sys::{HtmlElement, HtmlInputElement, HtmlTextAreaElement};

/// Shows a popover.
pub fn show_popover(element: &PageElement) {
    if let Some(element) = element.0.dyn_ref::<HtmlElement>() {
        let _ = element.show_popover();
    }
}

/// Selects the text of a field.
pub fn select_text(field: &PageElement) {
    if let Some(field) = field.0.dyn_ref::<HtmlInputElement>() {
        field.select();
    }
}

/// Returns whether a click on a link opens it in another tab or window.
#[must_use]
pub fn opens_elsewhere(click: &PageEvent) -> bool {
    let is_on = |name: &str| Reflect::get(&click.0, &name.into()).is_ok_and(|value| value.is_truthy());
    ["ctrlKey", "metaKey", "shiftKey", "altKey", "button"].into_iter().any(is_on)
}

/// Inserts a text into a text area in place of its selection, and puts the cursor behind it.
pub fn insert_text(field: &PageElement, text: &str) {
    let Some(area) = field.0.dyn_ref::<HtmlTextAreaElement>() else { return };
    // Text areas have no other line breaks.
    let text = text.replace("\r\n", "\n");
    let start = area.selection_start().ok().flatten().unwrap_or_default();
    if area.set_range_text(&text).is_err() {
        return;
    }
    let length = u32::try_from(text.encode_utf16().count()).unwrap_or(u32::MAX);
    let end = Some(start.saturating_add(length));
    // Fails for no text area.
    let _ = area.set_selection_end(end);
    let _ = area.set_selection_start(end);
}

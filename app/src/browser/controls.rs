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

thread_local! {
    /// Whether the browser gives fields the height of their text by itself, as most do.
    static FITS_HEIGHT: bool = web_sys::css::supports_with_value("field-sizing", "content").unwrap_or(false);
}

/// Gives a text area the height of its text. For browsers that don't, its `.grown` parent gets a copy of the text, which the style sheet lays out
/// in the same place, so nothing is measured.
pub fn fit_height(field: &PageElement) {
    if !FITS_HEIGHT.with(|fits| *fits)
        && let Some(parent) = field.closest(".grown")
    {
        parent.set("data-text", &field.value());
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

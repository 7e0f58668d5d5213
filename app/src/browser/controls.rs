//! Popovers, fields and links: what lists of the page need beside `dom`.

use super::dom::{PageElement, PageEvent};
use js_sys::Reflect;
use wasm_bindgen::JsCast as _;
use web_sys::{HtmlElement, HtmlInputElement};

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

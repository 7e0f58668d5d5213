//! Keeps the end of the transcript visible unless the user has scrolled up.

use web_sys::Element;

/// Returns whether the element is scrolled to within 80 pixels of its end.
#[must_use]
pub fn is_at_end(element: &Element) -> bool {
    element.scroll_height() - element.scroll_top() - element.client_height() < 80
}

/// Scrolls the element to its end.
pub fn to_end(element: &Element) {
    element.set_scroll_top(element.scroll_height());
}

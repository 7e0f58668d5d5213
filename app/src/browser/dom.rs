//! The elements and events of the page that the chat needs.

use js_sys::Reflect;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{
    AddEventListenerOptions, Document, Element, Event, EventTarget, HtmlDialogElement, HtmlElement,
    HtmlTemplateElement, KeyboardEvent, NodeList,
};

/// An element of the page.
#[derive(Clone, Debug, PartialEq)]
pub struct PageElement(pub(super) Element);

fn document() -> Option<Document> {
    web_sys::window()?.document()
}

/// Returns the element with this id.
#[must_use]
pub fn element(id: &str) -> Option<PageElement> {
    document()?.get_element_by_id(id).map(PageElement)
}

/// Returns the page's first element that matches a selector.
#[must_use]
pub fn first(selector: &str) -> Option<PageElement> {
    document()?.query_selector(selector).ok()?.map(PageElement)
}

/// Returns the focused element; `None` if that is the page itself.
#[must_use]
pub fn focused() -> Option<PageElement> {
    document()?.active_element().filter(|element| element.tag_name() != "BODY").map(PageElement)
}

/// Returns a copy of the first element of a template that matches a selector.
#[must_use]
pub fn from_template(id: &str, selector: &str) -> Option<PageElement> {
    let template = element(id)?.0.dyn_into::<HtmlTemplateElement>().ok()?;
    let found = template.content().query_selector(selector).ok()??;
    let copy = document()?.import_node_with_deep(&found, true).ok()?;
    copy.dyn_into().ok().map(PageElement)
}

/// Returns whether a media query matches.
#[must_use]
pub fn matches_media(query: &str) -> bool {
    web_sys::window().and_then(|window| window.match_media(query).ok()?).is_some_and(|list| list.matches())
}

/// Returns whether the page is visible.
#[must_use]
pub fn is_page_visible() -> bool {
    document().is_some_and(|document| !document.hidden())
}

fn collect(list: Result<NodeList, JsValue>) -> Vec<PageElement> {
    let Ok(list) = list else { return Vec::new() };
    (0..list.length()).filter_map(|index| list.get(index)?.dyn_into().ok().map(PageElement)).collect()
}

impl PageElement {
    /// Returns the first element within it that matches a selector.
    #[must_use]
    pub fn find(&self, selector: &str) -> Option<Self> {
        self.0.query_selector(selector).ok()?.map(Self)
    }

    /// Returns all elements within it that match a selector, in order.
    #[must_use]
    pub fn find_all(&self, selector: &str) -> Vec<Self> {
        collect(self.0.query_selector_all(selector))
    }

    /// Returns the element within it that is marked with `data-slot`.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<Self> {
        self.find(&format!("[data-slot=\"{name}\"]"))
    }

    /// Returns it or its nearest ancestor that matches a selector.
    #[must_use]
    pub fn closest(&self, selector: &str) -> Option<Self> {
        self.0.closest(selector).ok()?.map(Self)
    }

    /// Returns an attribute's value.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<String> {
        self.0.get_attribute(name)
    }

    /// Returns an attribute's value as a whole number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.attribute(name)?.parse().ok()
    }

    /// Sets an attribute.
    pub fn set(&self, name: &str, value: &str) {
        // Fails for invalid names only.
        let _ = self.0.set_attribute(name, value);
    }

    /// Sets an attribute without value, or removes it.
    pub fn mark(&self, name: &str, is_on: bool) {
        let _ = self.0.toggle_attribute_with_force(name, is_on);
    }

    /// Sets an attribute, or removes it for `None`.
    pub fn set_option(&self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.set(name, value),
            None => self.mark(name, false),
        }
    }

    /// Shows or hides it.
    pub fn show(&self, is_shown: bool) {
        self.mark("hidden", !is_shown);
    }

    /// Returns whether it is hidden by its attribute.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.0.has_attribute("hidden")
    }

    /// Adds or removes a class.
    pub fn set_class(&self, class: &str, is_on: bool) {
        let _ = self.0.class_list().toggle_with_force(class, is_on);
    }

    /// Returns whether it is a numbered list.
    #[must_use]
    pub fn is_ordered_list(&self) -> bool {
        self.0.tag_name() == "OL"
    }

    /// Returns its text.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.text_content().unwrap_or_default()
    }

    /// Returns its text as it is laid out, with line breaks between blocks.
    #[must_use]
    pub fn laid_out_text(&self) -> String {
        self.0.dyn_ref::<HtmlElement>().map(HtmlElement::inner_text).unwrap_or_default()
    }

    /// Replaces its content with a text, unless it is that text already.
    pub fn set_text(&self, text: &str) {
        if self.text() != text {
            self.0.set_text_content(Some(text));
        }
    }

    /// Appends a text to its own last text.
    pub fn append_text(&self, text: &str) {
        match self.0.last_child().and_then(|last| last.dyn_into::<web_sys::Text>().ok()) {
            Some(last) => drop(last.append_data(text)),
            None => self.0.set_text_content(Some(text)),
        }
    }

    /// Replaces its content with HTML that the server has rendered.
    pub fn set_html(&self, html: &str) {
        self.0.set_inner_html(html);
    }

    /// Replaces it with HTML that the server has rendered.
    pub fn replace_with_html(&self, html: &str) {
        self.0.set_outer_html(html);
    }

    /// Appends an element.
    pub fn append(&self, child: &Self) {
        let _ = self.0.append_child(&child.0);
    }

    /// Inserts an element as its first one.
    pub fn prepend(&self, child: &Self) {
        let _ = self.0.insert_before(&child.0, self.0.first_child().as_ref());
    }

    /// Returns a copy of it with its content.
    #[must_use]
    pub fn copy(&self) -> Option<Self> {
        self.0.clone_node_with_deep(true).ok()?.dyn_into().ok().map(Self)
    }

    /// Removes its content.
    pub fn clear(&self) {
        self.0.set_text_content(None);
    }

    /// Removes it from the page.
    pub fn remove(&self) {
        self.0.remove();
    }

    /// Returns whether it contains an element or is it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.0.contains(Some(&other.0))
    }

    /// Creates an element that is not in the page yet.
    #[must_use]
    pub fn create(name: &str) -> Option<Self> {
        document()?.create_element(name).ok().map(Self)
    }

    /// Returns the value of a form control.
    #[must_use]
    pub fn value(&self) -> String {
        self.property("value").as_string().unwrap_or_default()
    }

    /// Sets the value of a form control.
    pub fn set_value(&self, value: &str) {
        let _ = Reflect::set(&self.0, &"value".into(), &value.into());
    }

    /// Returns whether a checkbox is checked.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.property("checked").is_truthy()
    }

    fn property(&self, name: &str) -> JsValue {
        Reflect::get(&self.0, &name.into()).unwrap_or(JsValue::UNDEFINED)
    }

    /// Focuses it.
    pub fn focus(&self) {
        if let Some(element) = self.0.dyn_ref::<HtmlElement>() {
            let _ = element.focus();
        }
    }

    /// Focuses it, except on touch devices, where this would open the on-screen keyboard.
    pub fn focus_without_keyboard(&self) {
        if !matches_media("(pointer: coarse)") {
            self.focus();
        }
    }

    /// Clicks it.
    pub fn click(&self) {
        if let Some(element) = self.0.dyn_ref::<HtmlElement>() {
            element.click();
        }
    }

    /// Shows a dialog element.
    pub fn show_modal(&self) {
        if let Some(dialog) = self.0.dyn_ref::<HtmlDialogElement>().filter(|dialog| !dialog.open()) {
            let _ = dialog.show_modal();
        }
    }

    /// Hides a popover.
    pub fn hide_popover(&self) {
        if let Some(element) = self.0.dyn_ref::<HtmlElement>() {
            let _ = element.hide_popover();
        }
    }

    /// Calls a handler at each event of this type within the element.
    pub fn listen(&self, event: &str, handler: impl FnMut(PageEvent) + 'static) {
        listen(&self.0, event, false, Box::new(handler));
    }

    /// Calls a handler at each event of this type within the element. The handler can't prevent the default action, so scrolling
    /// doesn't wait for it.
    pub fn listen_passively(&self, event: &str, handler: impl FnMut(PageEvent) + 'static) {
        listen(&self.0, event, true, Box::new(handler));
    }
}

/// Calls a handler at each event of this type on the page.
pub fn listen_on_page(event: &str, handler: impl FnMut(PageEvent) + 'static) {
    if let Some(document) = document() {
        listen(&document, event, false, Box::new(handler));
    }
}

/// Calls a handler at each event of this type on the window.
pub fn listen_on_window(event: &str, handler: impl FnMut(PageEvent) + 'static) {
    if let Some(window) = web_sys::window() {
        listen(&window, event, false, Box::new(handler));
    }
}

fn listen(target: &EventTarget, event: &str, is_passive: bool, mut handler: Box<dyn FnMut(PageEvent)>) {
    let closure = Closure::<dyn FnMut(Event)>::wrap_aborting(
        Box::new(move |event: Event| handler(PageEvent(event))) as Box<dyn FnMut(Event)>
    );
    let function = closure.as_ref().unchecked_ref::<js_sys::Function>();
    let options = AddEventListenerOptions::new();
    options.set_passive(is_passive);
    let _ = target.add_event_listener_with_callback_and_add_event_listener_options(event, function, &options);
    // Listeners live as long as the page.
    closure.forget();
}

/// An event of the page.
#[derive(Clone, Debug)]
pub struct PageEvent(pub(super) Event);

/// A pressed key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name, such as "Enter".
    pub name: String,
    /// Whether Shift is pressed.
    pub shift: bool,
    /// Whether Control or Command is pressed.
    pub command: bool,
    /// Whether an input method handles the key. Safari ends the composition before it reports the Enter that confirmed it, and marks that
    /// key only by its code, 229.
    pub is_composing: bool,
}

impl PageEvent {
    /// Returns the element at which it happened.
    #[must_use]
    pub fn target(&self) -> Option<PageElement> {
        self.0.target()?.dyn_into().ok().map(PageElement)
    }

    /// Returns the element at which it happened, or its nearest ancestor, that matches a selector.
    #[must_use]
    pub fn closest(&self, selector: &str) -> Option<PageElement> {
        self.target()?.closest(selector)
    }

    /// Returns whether it happened in a control that takes text or keys.
    #[must_use]
    pub fn is_in_control(&self) -> bool {
        self.closest("input, textarea, select, [contenteditable]").is_some()
    }

    /// Returns the pressed key of a keyboard event.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        let event = self.0.dyn_ref::<KeyboardEvent>()?;
        Some(Key {
            name: event.key(),
            shift: event.shift_key(),
            command: event.ctrl_key() || event.meta_key(),
            is_composing: event.is_composing() || event.key_code() == 229,
        })
    }

    /// Returns a number by the path of its properties, such as `["deltaY"]` of a wheel event.
    #[must_use]
    pub fn number(&self, path: &[&str]) -> Option<f64> {
        let mut value = JsValue::from(self.0.clone());
        for name in path {
            value = Reflect::get(&value, &JsValue::from_str(name)).ok()?;
        }
        value.as_f64()
    }

    /// Returns whether another handler has prevented the default action.
    #[must_use]
    pub fn is_prevented(&self) -> bool {
        self.0.default_prevented()
    }

    /// Returns whether a `pageshow` event restores a page that the browser had kept.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        Reflect::get(&self.0, &JsValue::from_str("persisted")).is_ok_and(|persisted| persisted.is_truthy())
    }

    /// Prevents the default action.
    pub fn prevent(&self) {
        self.0.prevent_default();
    }
}

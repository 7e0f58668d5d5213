//! The toast: one short notice at a time.

use crate::browser::dom::{PageElement, PageEvent};
use gloo_timers::future::TimeoutFuture;
use leptos::task::spawn_local;
use std::cell::Cell;
use std::rc::Rc;

/// The page's toast.
pub(super) struct Toast {
    element: PageElement,
    text: PageElement,
    is_hovered: Cell<bool>,
    /// Counts the texts shown, so that a later text isn't hidden with an earlier one.
    shown: Cell<u32>,
}

impl Toast {
    /// Prepares the toast that the server rendered.
    pub fn new(element: PageElement) -> Option<Rc<Self>> {
        let (text, close) = (element.slot("text")?, element.slot("close")?);
        let toast = Rc::new(Self { element, text, is_hovered: Cell::new(false), shown: Cell::new(0) });
        let on = |element: &PageElement, event: &str, handler: fn(&Self, &PageEvent)| {
            let toast = Rc::clone(&toast);
            element.listen(event, move |event| handler(&toast, &event));
        };
        on(&toast.element, "mouseenter", |toast, _| toast.is_hovered.set(true));
        on(&toast.element, "mouseleave", |toast, _| toast.is_hovered.set(false));
        on(&close, "click", |toast, _| toast.close());
        Some(toast)
    }

    /// Shows a text for six seconds, longer while the pointer is on it.
    pub fn show(self: &Rc<Self>, text: &str) {
        let number = self.shown.get().wrapping_add(1);
        self.shown.set(number);
        self.text.set_text(text);
        self.element.show(true);
        let toast = Rc::clone(self);
        spawn_local(async move {
            TimeoutFuture::new(6_000).await;
            while toast.is_hovered.get() {
                TimeoutFuture::new(500).await;
            }
            if toast.shown.get() == number {
                toast.close();
            }
        });
    }

    /// Hides it.
    pub fn close(&self) {
        // No mouseleave event is fired when the toast is hidden under the pointer.
        self.is_hovered.set(false);
        self.element.show(false);
        self.text.set_text("");
    }
}

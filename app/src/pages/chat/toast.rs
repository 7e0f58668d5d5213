//! The toast: one short notice at a time.

use crate::browser::dom::{PageElement, PageEvent};
use gloo_timers::future::TimeoutFuture;
use leptos::task::spawn_local;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The page's toast.
pub(super) struct Toast {
    element: PageElement,
    text: PageElement,
    button: PageElement,
    /// The action of the button.
    action: RefCell<Option<Box<dyn Fn()>>>,
    is_hovered: Cell<bool>,
    /// Counts the texts shown, so that a later text isn't hidden with an earlier one.
    shown: Cell<u32>,
}

impl Toast {
    /// Prepares the toast that the server rendered.
    pub fn new(element: PageElement) -> Option<Rc<Self>> {
        let (text, button, close) = (element.slot("text")?, element.slot("action")?, element.slot("close")?);
        let (action, is_hovered, shown) = (RefCell::default(), Cell::new(false), Cell::new(0));
        let toast = Rc::new(Self { element, text, button, action, is_hovered, shown });
        let on = |element: &PageElement, event: &str, handler: fn(&Self, &PageEvent)| {
            let toast = Rc::clone(&toast);
            element.listen(event, move |event| handler(&toast, &event));
        };
        on(&toast.element, "mouseenter", |toast, _| toast.is_hovered.set(true));
        on(&toast.element, "mouseleave", |toast, _| toast.is_hovered.set(false));
        on(&close, "click", |toast, _| toast.close());
        on(&toast.button, "click", |toast, _| {
            let action = toast.action.take();
            toast.close();
            if let Some(action) = action {
                action();
            }
        });
        Some(toast)
    }

    /// Shows a text for six seconds, longer while the pointer is on it.
    pub fn show(self: &Rc<Self>, text: &str) {
        self.action.take();
        self.button.show(false);
        self.show_for(text, 6_000);
    }

    /// Shows a text with a button for a number of milliseconds, longer while the pointer is on it.
    pub fn offer(self: &Rc<Self>, text: &str, label: &str, ms: u32, action: impl Fn() + 'static) {
        *self.action.borrow_mut() = Some(Box::new(action));
        self.button.set_text(label);
        self.button.show(true);
        self.show_for(text, ms);
    }

    fn show_for(self: &Rc<Self>, text: &str, ms: u32) {
        let number = self.shown.get().wrapping_add(1);
        self.shown.set(number);
        self.text.set_text(text);
        self.element.show(true);
        let toast = Rc::clone(self);
        spawn_local(async move {
            TimeoutFuture::new(ms).await;
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

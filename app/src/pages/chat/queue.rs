//! Messages that wait on the page until another response has ended.

use crate::browser::dom::{self, PageElement};
use std::cell::RefCell;
use std::rc::Rc;

/// The waiting messages, oldest first.
pub(super) struct Queue {
    list: PageElement,
    entries: RefCell<Vec<(String, PageElement)>>,
}

impl Queue {
    /// Prepares the list that the server rendered.
    pub fn new(list: PageElement) -> Rc<Self> {
        Rc::new(Self { list, entries: RefCell::default() })
    }

    /// Adds a message: at the end, or before all others. `on_remove` is called after the user has removed it. Returns `false` if the page
    /// can't show it.
    pub fn add(self: &Rc<Self>, text: &str, is_first: bool, on_remove: impl Fn() + 'static) -> bool {
        let Some(entry) = dom::from_template("queued-message", ".queued") else { return false };
        if let Some(shown) = entry.slot("text") {
            shown.set_text(text);
        }
        if let Some(button) = entry.slot("remove") {
            let (queue, removed) = (Rc::clone(self), entry.clone());
            button.listen("click", move |_| {
                queue.entries.borrow_mut().retain(|(_, entry)| *entry != removed);
                queue.update(&removed);
                on_remove();
            });
        }
        if is_first {
            self.list.prepend(&entry);
            self.entries.borrow_mut().insert(0, (text.to_owned(), entry));
        } else {
            self.list.append(&entry);
            self.entries.borrow_mut().push((text.to_owned(), entry));
        }
        self.list.show(true);
        true
    }

    fn update(&self, removed: &PageElement) {
        removed.remove();
        self.list.show(!self.is_empty());
    }

    /// Returns whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }

    /// Takes the oldest message.
    pub fn take_first(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let (text, entry) = self.entries.borrow_mut().remove(0);
        self.update(&entry);
        Some(text)
    }

    /// Returns all messages.
    pub fn texts(&self) -> Vec<String> {
        self.entries.borrow().iter().map(|(text, _)| text.clone()).collect()
    }

    /// Takes all messages.
    pub fn take_all(&self) -> Vec<String> {
        std::iter::from_fn(|| self.take_first()).collect()
    }
}

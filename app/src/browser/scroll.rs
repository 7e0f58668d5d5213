//! Keeps the end of the transcript visible until the user moves up.

use super::dom::{PageElement, PageEvent, listen_on_page, listen_on_window};
use leptos::prelude::request_animation_frame;
use std::cell::Cell;
use std::rc::Rc;
use web_sys::{ScrollIntoViewOptions, ScrollLogicalPosition};

/// Pixels to the end below which the transcript is at its end. Zoomed pages have fractions of pixels.
const AT_END: i32 = 2;
/// Pixels to the end above which the button that goes there is shown.
const FAR: i32 = 8;
/// Pixels to the start below which older messages are loaded.
const NEAR_START: i32 = 600;

/// The transcript's scroll position.
#[derive(Debug)]
pub struct Scroll {
    element: PageElement,
    jump: PageElement,
    /// Whether the end is kept visible.
    sticks: Cell<bool>,
    last_top: Cell<i32>,
    last_height: Cell<i32>,
    touch_y: Cell<f64>,
    is_scheduled: Cell<bool>,
}

impl Scroll {
    /// Watches the transcript. `jump` is the button that goes to the end.
    pub fn watch(element: PageElement, jump: PageElement) -> Rc<Self> {
        let scroll = Rc::new(Self {
            element,
            jump,
            sticks: Cell::new(true),
            last_top: Cell::new(0),
            last_height: Cell::new(0),
            touch_y: Cell::new(0.0),
            is_scheduled: Cell::new(false),
        });
        let on = |event: &str, handler: fn(&Self, &PageEvent)| {
            let watched = Rc::clone(&scroll);
            scroll.element.listen_passively(event, move |event| handler(&watched, &event));
        };
        on("wheel", |scroll, event| {
            if event.number(&["deltaY"]).is_some_and(|delta| delta < 0.0) {
                scroll.move_up();
            }
        });
        on("touchstart", |scroll, event| scroll.touch_y.set(touch_y(event).unwrap_or(0.0)));
        on("touchmove", |scroll, event| {
            // Content moves with the finger, so a finger that moves down scrolls up.
            if touch_y(event).is_some_and(|y| y > scroll.touch_y.get() + 1.0) {
                scroll.move_up();
            }
        });
        let watched = Rc::clone(&scroll);
        scroll.element.listen_passively("scroll", move |_| watched.scrolled());
        let watched = Rc::clone(&scroll);
        listen_on_page("keydown", move |event| {
            let is_up = event.key().is_some_and(|key| {
                matches!(key.name.as_str(), "ArrowUp" | "PageUp" | "Home") || (key.name == " " && key.shift)
            });
            if is_up && !event.is_in_control() {
                watched.move_up();
            }
        });
        let watched = Rc::clone(&scroll);
        scroll.jump.listen("click", move |_| {
            watched.go_to_end();
            // The button disappears, so the focus goes to what it has shown.
            watched.element.focus();
        });
        let watched = Rc::clone(&scroll);
        listen_on_window("resize", move |_| watched.keep_end());
        scroll
    }

    /// Returns the pixels between what is visible and the end.
    fn distance(&self) -> i32 {
        let element = &self.element.0;
        element.scroll_height() - element.scroll_top() - element.client_height()
    }

    /// Stops following the end, because the user scrolls up. Does nothing if there is nothing above.
    fn move_up(&self) {
        if self.element.0.scroll_top() > 0 {
            self.sticks.set(false);
        }
    }

    /// Returns whether the start is in view or nearly so.
    pub fn is_near_start(&self) -> bool {
        self.element.0.scroll_top() < NEAR_START
    }

    fn scrolled(&self) {
        let (top, height, distance) = (self.element.0.scroll_top(), self.element.0.scroll_height(), self.distance());
        if top < self.last_top.get() && distance > AT_END && height >= self.last_height.get() {
            self.sticks.set(false);
        } else if top > self.last_top.get() && distance <= AT_END {
            self.sticks.set(true);
        }
        self.remember();
        self.show_jump(distance);
    }

    fn remember(&self) {
        self.last_top.set(self.element.0.scroll_top());
        self.last_height.set(self.element.0.scroll_height());
    }

    fn show_jump(&self, distance: i32) {
        self.jump.show(!self.sticks.get() && distance > FAR);
    }

    /// Scrolls to the end and keeps it visible from now on.
    pub fn go_to_end(self: &Rc<Self>) {
        self.sticks.set(true);
        self.keep_end();
    }

    /// Scrolls to an element of the transcript, and keeps it in view.
    pub fn go_to(&self, element: &PageElement) {
        self.sticks.set(false);
        element.0.scroll_into_view();
        self.remember();
        self.show_jump(self.distance());
    }

    /// Scrolls to the end in the next frame if it is kept visible. Called after the content has changed.
    pub fn keep_end(self: &Rc<Self>) {
        if self.is_scheduled.replace(true) {
            return;
        }
        let scroll = Rc::clone(self);
        request_animation_frame(move || {
            scroll.is_scheduled.set(false);
            if scroll.sticks.get() {
                scroll.element.0.set_scroll_top(scroll.element.0.scroll_height());
            }
            // The scroll event of this movement must not count as the user's.
            scroll.remember();
            scroll.show_jump(scroll.distance());
        });
    }

    /// Changes content above the visible part and keeps the visible part in place.
    pub fn keep_place(&self, change: impl FnOnce()) {
        let from_end = self.element.0.scroll_height() - self.element.0.scroll_top();
        change();
        self.element.0.set_scroll_top(self.element.0.scroll_height() - from_end);
        self.remember();
    }
}

fn touch_y(event: &PageEvent) -> Option<f64> {
    event.number(&["touches", "0", "clientY"])
}

/// Returns whether the end of an element is in view or nearly so.
#[must_use]
pub fn is_near_end(element: &PageElement) -> bool {
    let element = &element.0;
    element.scroll_height() - element.scroll_top() - element.client_height() < NEAR_START
}

/// Scrolls an entry of a list into view, if it isn't.
pub fn show_in_list(entry: &PageElement) {
    let options = ScrollIntoViewOptions::new();
    options.set_block(ScrollLogicalPosition::Nearest);
    entry.0.scroll_into_view_with_scroll_into_view_options(&options);
}

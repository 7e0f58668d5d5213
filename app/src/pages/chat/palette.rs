//! The search palette, opened by Ctrl+K or ⌘K and by the sidebar's link. Its form leads to the search page.

use crate::browser::api;
use crate::browser::controls::opens_elsewhere;
use crate::browser::dom::{self, PageElement, PageEvent};
use crate::components::icon::{Draw, Icon};
use gloo_timers::future::TimeoutFuture;
use leptos::prelude::*;
use leptos::task::spawn_local;
use std::cell::Cell;
use std::rc::Rc;

/// Milliseconds without a key after which the results are loaded.
const PAUSE_MS: u32 = 150;

/// The dialog.
#[component]
pub(super) fn Palette() -> impl IntoView {
    view! {
        <dialog id="palette" class="sheet palette" closedby="any" aria-label="Search">
            <form action="/search" role="search">
                <Draw icon=Icon::Search/>
                <input id="palette-text" type="search" name="q" maxlength="200" autocomplete="off" placeholder="Search your conversations" aria-label="Search your conversations"/>
            </form>
            <div id="palette-results" role="region" aria-label="Results" aria-live="polite" translate="no"></div>
        </dialog>
    }
}

/// The palette in the browser.
struct SearchDialog {
    dialog: PageElement,
    text: PageElement,
    results: PageElement,
    /// Counts the searches, so that an earlier one's results never replace a later one's.
    searches: Cell<u32>,
}

/// Connects the palette to the page.
pub(super) fn start() {
    let parts = (dom::element("palette"), dom::element("palette-text"), dom::element("palette-results"));
    let (Some(dialog), Some(text), Some(results)) = parts else { return };
    let palette = Rc::new(SearchDialog { dialog, text, results, searches: Cell::new(0) });
    let opened = Rc::clone(&palette);
    dom::listen_on_page("keydown", move |event| {
        let is_search = event.key().is_some_and(|key| key.command && !key.shift && key.name.eq_ignore_ascii_case("k"));
        if is_search && !event.is_prevented() {
            event.prevent();
            opened.open();
        }
    });
    if let Some(link) = dom::first("#sidebar [data-search]") {
        let opened = Rc::clone(&palette);
        link.listen("click", move |event| {
            if !opens_elsewhere(&event) {
                event.prevent();
                opened.open();
            }
        });
    }
    let searched = Rc::clone(&palette);
    palette.text.listen("input", move |_| searched.search());
    let moved = Rc::clone(&palette);
    palette.dialog.listen("keydown", move |event| moved.key(&event));
}

impl SearchDialog {
    fn open(self: &Rc<Self>) {
        if let Some(sidebar) = dom::element("sidebar") {
            // On phones it is a popover above the page.
            sidebar.hide_popover();
        }
        self.dialog.show_modal();
        self.text.focus();
        self.search();
    }

    /// Loads the results once no key was pressed for a while.
    fn search(self: &Rc<Self>) {
        let number = self.searches.get().wrapping_add(1);
        self.searches.set(number);
        let palette = Rc::clone(self);
        spawn_local(async move {
            TimeoutFuture::new(PAUSE_MS).await;
            let text = palette.text.value();
            if palette.searches.get() != number {
                return;
            }
            if text.trim().is_empty() {
                return palette.results.clear();
            }
            let found = api::search_results(&text).await;
            if palette.searches.get() == number {
                match found {
                    Ok(html) => palette.results.set_html(&html),
                    Err(message) => palette.results.set_text(&message),
                }
            }
        });
    }

    /// Moves the focus between the field and the results.
    fn key(&self, event: &PageEvent) {
        let Some(key) = event.key().filter(|key| !key.is_composing) else { return };
        let step: isize = match key.name.as_str() {
            "ArrowDown" => 1,
            "ArrowUp" => -1,
            _ => return,
        };
        event.prevent();
        let mut places = vec![self.text.clone()];
        places.extend(self.results.find_all("a"));
        let at = dom::focused().and_then(|focused| places.iter().position(|place| *place == focused)).unwrap_or(0);
        if let Some(place) = at.checked_add_signed(step).and_then(|next| places.get(next)) {
            place.focus();
        }
    }
}

//! The search palette, opened by Ctrl+K or ⌘K and by the sidebar's link. While its field is empty it lists recent conversations. Its form leads to
//! the search page.

use crate::browser::api;
use crate::browser::controls::opens_elsewhere;
use crate::browser::dom::{self, PageElement, PageEvent};
use crate::components::icon::{Draw, Icon};
use crate::pages::search::EMPTY_SEARCH;
use gloo_timers::future::TimeoutFuture;
use leptos::prelude::*;
use leptos::task::spawn_local;
use std::cell::Cell;
use std::rc::Rc;

/// Milliseconds without a key after which the results are loaded.
const PAUSE_MS: u32 = 150;
/// Maximum number of recent conversations.
const MAX_RECENT: usize = 8;
/// Selects the sidebar's links to the conversations that were active last, without the open one and the pinned ones, which the sidebar shows first.
/// Nothing matches on a later page of the list, which has a link to the newest conversations above it.
const RECENT: &str = "#conversations-nav:not(:has(> .more)) li:not([data-pinned]) > .entry-link:not([aria-current])";

/// The dialog. On phones only its button closes it where browsers don't know `closedby`.
#[component]
pub(super) fn Palette() -> impl IntoView {
    view! {
        <dialog id="palette" class="sheet palette" closedby="any" aria-label="Search">
            <form action="/search" role="search">
                <Draw icon=Icon::Search/>
                <input id="palette-text" type="search" name="q" maxlength="200" autocomplete="off" placeholder="Search your conversations" aria-label="Search your conversations"/>
                <button type="submit" form="palette-close" class="quiet icon-button" aria-label="Close" title="Close"><Draw icon=Icon::Close/></button>
            </form>
            // The button is of a form of its own, so that Enter in the field searches.
            <form id="palette-close" method="dialog" hidden=true></form>
            <div id="palette-results" role="region" aria-label="Results" aria-live="polite" translate="no"></div>
            <template id="palette-recent">
                <div class="search-results">
                    <section><h2>"Recent conversations"</h2><ul></ul></section>
                    <p class="hint">{EMPTY_SEARCH}</p>
                </div>
            </template>
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
        // Before the dialog opens, so that screen readers don't announce the list as a change.
        self.search();
        self.dialog.show_modal();
        self.text.focus();
    }

    /// Loads the results once no key was pressed for a while. Shows recent conversations at once if the field is empty.
    fn search(self: &Rc<Self>) {
        let number = self.searches.get().wrapping_add(1);
        self.searches.set(number);
        if self.text.value().trim().is_empty() {
            return self.show_recent();
        }
        let palette = Rc::clone(self);
        spawn_local(async move {
            TimeoutFuture::new(PAUSE_MS).await;
            if palette.searches.get() != number {
                return;
            }
            let found = api::search_results(&palette.text.value()).await;
            if palette.searches.get() == number {
                match found {
                    Ok(html) => palette.results.set_html(&html),
                    Err(message) => palette.results.set_text(&message),
                }
            }
        });
    }

    /// Lists the recent conversations by the sidebar's links, which are current without a request. Without any, the style sheet shows the hint.
    fn show_recent(&self) {
        self.results.clear();
        let recent = dom::from_template("palette-recent", ".search-results");
        let (Some(recent), Some(sidebar)) = (recent, dom::element("conversations-nav")) else { return };
        let Some(list) = recent.find("ul") else { return };
        for link in sidebar.find_all(RECENT).iter().take(MAX_RECENT) {
            let (Some(row), Some(link)) = (PageElement::create("li"), link.copy()) else { continue };
            link.set("class", "found-title");
            // The original is hidden while it is renamed.
            link.show(true);
            row.append(&link);
            list.append(&row);
        }
        self.results.append(&recent);
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

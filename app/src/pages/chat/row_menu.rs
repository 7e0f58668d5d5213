//! The sidebar's list in the browser: the options of its rows, more rows at its end, and the switch that hides the sidebar.

use super::more;
use super::toast::Toast;
use crate::browser::api::{self, Failure};
use crate::browser::controls::{opens_elsewhere, select_text, show_popover};
use crate::browser::dom::{self, PageElement, PageEvent};
use crate::browser::json::JsonObject;
use crate::browser::{page, scroll};
use gloo_timers::future::TimeoutFuture;
use leptos::task::spawn_local;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// How long a deletion can be undone, in milliseconds.
const UNDO_MS: u32 = 10_000;
const NOT_SAVED: &str = "The server can't be reached right now. Try again in a moment.";

/// The sidebar's list.
struct List {
    /// The element whose content the server renders.
    conversations: PageElement,
    menu: PageElement,
    toast: Rc<Toast>,
    /// The conversation whose menu is open.
    chosen: RefCell<Option<String>>,
    is_loading: Cell<bool>,
}

/// Connects the sidebar to the page.
pub(super) fn start(toast: &Rc<Toast>) {
    let (Some(conversations), Some(menu)) = (dom::element("conversations"), dom::element("row-menu")) else { return };
    let toast = Rc::clone(toast);
    let list = Rc::new(List { conversations, menu, toast, chosen: RefCell::default(), is_loading: Cell::new(false) });
    let clicked = Rc::clone(&list);
    list.conversations.listen("click", move |event| clicked.click(&event));
    let chosen = Rc::clone(&list);
    list.menu.listen("click", move |event| {
        if let Some(action) = event.closest("[data-do]").and_then(|button| button.attribute("data-do")) {
            chosen.act(&action);
        }
    });
    if let Some(nav) = dom::element("conversations-nav") {
        let (scrolled, watched) = (Rc::clone(&list), nav.clone());
        nav.listen_passively("scroll", move |_| {
            if scroll::is_near_end(&watched) {
                scrolled.load_more(false);
            }
        });
    }
    for shows in [true, false] {
        if let Some(form) = dom::first(sidebar_switch(shows)) {
            form.listen("submit", move |event| {
                event.prevent();
                show_sidebar(shows);
            });
        }
    }
    hide_deleted();
}

/// Returns the selector of the form that shows or hides the sidebar.
const fn sidebar_switch(shows: bool) -> &'static str {
    if shows { "form[data-sidebar=show]" } else { "form[data-sidebar=hide]" }
}

/// Shows or hides the sidebar, and keeps the choice.
fn show_sidebar(is_shown: bool) {
    let Some(frame) = dom::first(".chat-frame") else { return };
    frame.mark("data-sidebar-hidden", !is_shown);
    // The pressed button disappears, so the focus goes to the one that undoes it.
    if let Some(button) = dom::first(sidebar_switch(!is_shown)).and_then(|form| form.find("button")) {
        button.focus();
    }
    spawn_local(async move {
        let body = JsonObject::new().with_flag("hidden", Some(!is_shown)).to_text();
        // If it isn't saved, the next page shows the sidebar as before.
        let _ = api::post("/chat/sidebar", &body).await;
    });
}

/// Hides the notice that a conversation was deleted, once that can't be undone.
fn hide_deleted() {
    let Some(notice) = dom::element("deleted") else { return };
    page::clear_query();
    spawn_local(async move {
        TimeoutFuture::new(UNDO_MS).await;
        notice.remove();
    });
}

impl List {
    fn click(self: &Rc<Self>, event: &PageEvent) {
        let Some(link) = event.closest("a").filter(|_| !opens_elsewhere(event)) else { return };
        if link.attribute("data-fragment").is_some() {
            event.prevent();
            self.load_more(true);
        } else if link.attribute("data-options").is_some() {
            event.prevent();
            self.open_menu(&link);
        }
    }

    fn open_menu(&self, link: &PageElement) {
        let Some(row) = link.closest("[data-entry]") else { return };
        self.menu.hide_popover();
        for other in self.conversations.find_all("[data-has-menu]") {
            other.mark("data-has-menu", false);
        }
        // The style sheet places the menu at the marked link.
        link.mark("data-has-menu", true);
        self.menu.set_option("data-pinned", row.attribute("data-pinned").as_deref());
        *self.chosen.borrow_mut() = row.attribute("data-entry");
        show_popover(&self.menu);
        if let Some(first) = self.menu.find("button") {
            first.focus();
        }
    }

    fn act(self: &Rc<Self>, action: &str) {
        self.menu.hide_popover();
        let Some(id) = self.chosen.take() else { return };
        match action {
            "rename" => return self.rename(&id, None),
            "pin" | "unpin" | "archive" | "delete" => {}
            _ => return,
        }
        let (list, action) = (Rc::clone(self), action.to_owned());
        spawn_local(async move {
            match action.as_str() {
                "pin" | "unpin" => {
                    if list.post(&id, "pin", Some(action == "pin")).await {
                        list.reload().await;
                    }
                }
                "archive" => list.archive(id).await,
                _ => list.delete(id).await,
            }
        });
    }

    /// Sends a change of a conversation. Returns whether it was saved; if not, a toast is shown.
    async fn post(&self, id: &str, path: &str, is_on: Option<bool>) -> bool {
        let body = is_on.map_or_else(JsonObject::new, |is_on| JsonObject::new().with_flag("on", Some(is_on))).to_text();
        self.saved(api::post(&format!("/chat/{id}/{path}"), &body).await)
    }

    fn saved(&self, result: Result<(), Failure>) -> bool {
        match result {
            Ok(()) => return true,
            Err(failure) => {
                uncover_toast();
                self.toast.show(match &failure {
                    Failure::Refused(refusal) => refusal.message.as_str(),
                    Failure::Offline => NOT_SAVED,
                });
            }
        }
        false
    }

    async fn archive(self: Rc<Self>, id: String) {
        if !self.post(&id, "archive", Some(true)).await {
            return;
        }
        self.remove(&id);
        uncover_toast();
        let list = Rc::clone(&self);
        self.toast.offer("Conversation archived.", "Undo", UNDO_MS, move || {
            let (list, id) = (Rc::clone(&list), id.clone());
            spawn_local(async move {
                if list.post(&id, "archive", Some(false)).await {
                    list.reload().await;
                }
            });
        });
    }

    async fn delete(self: Rc<Self>, id: String) {
        if !self.post(&id, "delete", None).await {
            return;
        }
        if current().as_ref() == Some(&id) {
            // That page has a notice with which it can be undone.
            return page::go(&format!("/chat?deleted={id}"));
        }
        self.remove(&id);
        uncover_toast();
        let list = Rc::clone(&self);
        self.toast.offer("Conversation deleted.", "Undo", UNDO_MS, move || {
            let (list, id) = (Rc::clone(&list), id.clone());
            spawn_local(async move {
                if list.post(&id, "restore", None).await {
                    list.reload().await;
                }
            });
        });
    }

    fn row(&self, id: &str) -> Option<PageElement> {
        self.conversations.find(&format!("[data-entry=\"{id}\"]"))
    }

    /// Removes a conversation's rows, and hides their groups if they are empty now.
    fn remove(&self, id: &str) {
        for row in self.conversations.find_all(&format!("[data-entry=\"{id}\"]")) {
            let group = row.closest("section");
            row.remove();
            if let Some(group) = group.filter(|group| group.find("[data-entry]").is_none()) {
                group.show(false);
            }
        }
        if let Some(new) = dom::first("#sidebar .new") {
            new.focus();
        }
    }

    /// Puts a field in place of a row's link. Enter and leaving the field save the title, Escape keeps the old one. `typed` is a title that
    /// couldn't be saved.
    fn rename(self: &Rc<Self>, id: &str, typed: Option<&str>) {
        let Some(row) = self.row(id) else { return };
        let (Some(link), Some(form)) = (row.find(".entry-link"), dom::from_template("rename-row", "form")) else {
            return;
        };
        let Some(field) = form.find("input") else { return };
        let before = link.text();
        field.set_value(typed.unwrap_or(&before));
        link.show(false);
        row.prepend(&form);
        // The focus stays where the user has put it since.
        if typed.is_none() || dom::focused().is_none() {
            field.focus();
            select_text(&field);
        }
        // Enter removes the field, which browsers may report as leaving it.
        let is_done = Rc::new(Cell::new(false));
        let finish = {
            let (list, form, link, field, id) =
                (Rc::clone(self), form.clone(), link.clone(), field.clone(), id.to_owned());
            Rc::new(move |saves: bool| {
                if is_done.replace(true) {
                    return;
                }
                let title = field.value().split_whitespace().collect::<Vec<_>>().join(" ");
                form.remove();
                link.show(true);
                if saves && !title.is_empty() && title != before {
                    let (list, link, id) = (Rc::clone(&list), link.clone(), id.clone());
                    spawn_local(async move { list.save_title(&id, &link, &title).await });
                } else {
                    link.focus();
                }
            })
        };
        let submitted = Rc::clone(&finish);
        form.listen("submit", move |event| {
            event.prevent();
            submitted(true);
        });
        let left = Rc::clone(&finish);
        field.listen("blur", move |_| left(true));
        field.listen("keydown", move |event| {
            if event.key().is_some_and(|key| key.name == "Escape" && !key.is_composing) {
                event.prevent();
                finish(false);
            }
        });
    }

    async fn save_title(self: &Rc<Self>, id: &str, link: &PageElement, title: &str) {
        let before = link.text();
        show_title(id, link, title);
        let body = JsonObject::new().with("title", Some(title)).to_text();
        if !self.saved(api::post(&format!("/chat/{id}/rename"), &body).await) {
            show_title(id, link, &before);
            self.rename(id, Some(title));
        }
    }

    /// Loads the first page of the list again.
    async fn reload(&self) {
        let current = current().map(|id| format!("?current={id}")).unwrap_or_default();
        if let Ok(html) = api::fragment(&format!("/chat/list{current}")).await {
            self.conversations.set_html(&html);
        }
    }

    /// Loads the next page of the list in place of the link to it.
    fn load_more(self: &Rc<Self>, is_clicked: bool) {
        if self.is_loading.replace(true) {
            return;
        }
        let list = Rc::clone(self);
        spawn_local(async move {
            let loaded = more::load("more-conversations", is_clicked).await;
            list.is_loading.set(false);
            if let Some((place, html)) = loaded {
                place.replace_with_html(&html);
            }
        });
    }
}

/// Closes the sidebar on phones, where it is a popover above the toast. Has no effect on desktops.
fn uncover_toast() {
    if let Some(sidebar) = dom::element("sidebar") {
        sidebar.hide_popover();
    }
}

/// Returns the open conversation, if any.
fn current() -> Option<String> {
    let open = dom::element("chat").and_then(|chat| chat.attribute("data-conversation"));
    open.or_else(|| dom::first("#conversations [aria-current]")?.closest("[data-entry]")?.attribute("data-entry"))
}

fn show_title(id: &str, link: &PageElement, title: &str) {
    link.set_text(title);
    link.set("title", title);
    if current().as_deref() == Some(id) {
        page::show_title(title);
    }
}

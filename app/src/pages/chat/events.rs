//! Connects the chat to the page: handles clicks, keys and changes of the connection.

use super::settings;
use super::sharing;
use super::state::Chat;
use super::toast::Toast;
use super::{palette, row_menu};
use crate::browser::channel::Channel;
use crate::browser::dom::{self, Key, PageElement, PageEvent};
use crate::browser::wake::{Wake, wake};
use crate::browser::{api, clipboard, clock, controls, draft, files, page, scroll};
use leptos::task::spawn_local;
use std::cell::Cell;
use std::rc::Rc;

/// Minimum interval, in milliseconds, between requests for turns that were made in other tabs or on other devices.
const SEEN_MS: u64 = 1_000;
/// Number of characters from which a pasted text becomes a file.
const MIN_ATTACHED: usize = 4_000;

/// Starts the sidebar and the chat once the page can run them. A page that only shows earlier messages has no chat.
pub(super) fn start() {
    let Some(toast) = dom::element("toast").and_then(Toast::new) else { return };
    row_menu::start(&toast);
    palette::start();
    let Some(chat) = Chat::find(toast) else { return };
    if let Some(rendered_ms) = chat.element.number("data-now-ms") {
        clock::learn_from_page(rendered_ms);
    }
    let for_tabs = Rc::clone(&chat);
    let channel = Channel::open(move |started| {
        let chat = Rc::clone(&for_tabs);
        spawn_local(async move { chat.follow_tab(started).await });
    });
    let _ = chat.channel.set(channel);
    listen_to_composer(&chat);
    settings::connect(&chat.composer);
    listen_to_files(&chat);
    listen_to_clicks(&chat);
    listen_to_keys(&chat);
    listen_to_window(&chat);
    sharing::listen(&chat);
    restore(&chat);
    chat.composer.form.mark("data-ready", true);
    if let Some(turn) = chat.element.attribute("data-running") {
        chat.follow_other(&turn, &chat.element.attribute("data-running-model").unwrap_or_default());
    }
    match page::target() {
        Some(message) => chat.scroll.go_to(&message),
        None => chat.scroll.go_to_end(),
    }
    if let Some(current) = dom::first("#conversations [aria-current=\"page\"]") {
        scroll::show_in_list(&current);
    }
    let zone = clock::zone();
    if chat.element.attribute("data-zone-unknown").is_some() && !zone.is_empty() && zone != "UTC" {
        spawn_local(async move { api::time_zone(&zone).await });
    }
}

/// Restores the draft and the choices of the last conversation.
fn restore(chat: &Rc<Chat>) {
    chat.composer.restore_choices();
    let kept = draft::load(&chat.draft_owner()).unwrap_or_default();
    // A message whose turn is in progress was accepted just before the page was left, so it isn't a draft any more.
    let is_sent =
        chat.element.attribute("data-running").is_some() && last_message(chat).is_some_and(|sent| sent == kept);
    if is_sent {
        draft::save(&chat.draft_owner(), "");
    } else if chat.composer.text().is_empty() && !kept.is_empty() {
        chat.composer.set_text(&kept);
    }
    chat.composer.text_changed();
    if dom::focused().is_none() {
        chat.composer.question.focus_without_keyboard();
    }
}

/// Returns the text of the user's last message.
fn last_message(chat: &Chat) -> Option<String> {
    chat.element.find_all(".user-message[data-source]").pop()?.attribute("data-source")
}

fn listen_to_composer(chat: &Rc<Chat>) {
    let composer = &chat.composer;
    let on = |element: &PageElement, event: &str, handler: fn(&Rc<Chat>, &PageEvent)| {
        let chat = Rc::clone(chat);
        element.listen(event, move |event| handler(&chat, &event));
    };
    on(&composer.form, "submit", |chat, event| {
        event.prevent();
        chat.send();
    });
    on(&composer.question, "input", |chat, _| {
        chat.composer.text_changed();
        chat.save_draft();
        chat.scroll.keep_end();
        estimate(chat);
    });
    on(&composer.question, "keydown", key_in_box);
    on(&composer.model, "change", |chat, _| {
        chat.composer.model_changed();
        estimate(chat);
    });
    on(&composer.effort, "change", |chat, _| chat.composer.effort_changed());
    on(&composer.stop, "click", |chat, _| chat.stop());
}

/// Attaches the files that are picked, dropped on the chat or pasted into the message box.
fn listen_to_files(chat: &Rc<Chat>) {
    let changed = Rc::clone(chat);
    chat.composer.files.on_change(move || {
        changed.composer.text_changed();
        estimate(&changed);
    });
    let (Some(button), Some(picker)) = (dom::element("attach"), dom::element("file-picker")) else { return };
    button.mark("disabled", false);
    let opened = picker.clone();
    button.listen("click", move |_| opened.click());
    let (picked, input) = (Rc::clone(chat), picker.clone());
    picker.listen("change", move |_| {
        picked.composer.files.add(files::take_picked(&input));
        picked.composer.question.focus_without_keyboard();
    });
    let pasted = Rc::clone(chat);
    chat.composer.question.listen("paste", move |event| {
        let chosen = files::pasted(&event);
        if !chosen.is_empty() {
            event.prevent();
            pasted.composer.files.add(chosen);
        } else if attach_text(&pasted, &event) {
            event.prevent();
        }
    });
    let over = Rc::clone(chat);
    chat.element.listen("dragover", move |event| {
        if files::has_dragged(&event) {
            event.prevent();
            over.element.mark("data-dropping", true);
        }
    });
    let left = Rc::clone(chat);
    chat.element.listen("dragleave", move |_| left.element.mark("data-dropping", false));
    let dropped = Rc::clone(chat);
    chat.element.listen("drop", move |event| {
        dropped.element.mark("data-dropping", false);
        if files::has_dragged(&event) {
            event.prevent();
            dropped.composer.files.add(files::dropped(&event));
        }
    });
}

/// Attaches a long pasted text as a file, whose button puts it into the message box instead. Returns false if the text is short, or no file can be
/// added now; then it is pasted as usual.
fn attach_text(chat: &Rc<Chat>, event: &PageEvent) -> bool {
    let files = &chat.composer.files;
    if chat.is_busy() || !files.has_room() {
        return false;
    }
    let is_long = |text: &String| text.chars().count() >= MIN_ATTACHED;
    let Some(text) = files::pasted_text(event).filter(is_long) else { return false };
    let inserted = Rc::clone(chat);
    let is_attached = files.add_text(text, move |text| {
        controls::insert_text(&inserted.composer.question, text);
        inserted.composer.question.focus();
        inserted.composer.text_changed();
        inserted.save_draft();
        estimate(&inserted);
    });
    if is_attached {
        chat.toast.show("The pasted text is attached as a file. Write a message to send with it.");
    }
    is_attached
}

fn estimate(chat: &Rc<Chat>) {
    let (placed, shown) = (Rc::clone(chat), Rc::clone(chat));
    chat.composer.estimate(move || placed.place(), move |quota| shown.show_quota(quota));
}

fn key_in_box(chat: &Rc<Chat>, event: &PageEvent) {
    let Some(key) = event.key().filter(|key| !key.is_composing) else { return };
    match key {
        // On-screen keyboards have no Shift+Enter, so there Enter begins a new line.
        Key { ref name, shift: false, command, .. }
            if name == "Enter" && (command || !dom::matches_media("(pointer: coarse)")) =>
        {
            event.prevent();
            chat.send();
        }
        Key { ref name, shift: false, command: false, .. } if name == "ArrowUp" && chat.composer.text().is_empty() => {
            if let Some(text) = last_message(chat) {
                event.prevent();
                chat.composer.set_text(&text);
                chat.save_draft();
            }
        }
        _ => {}
    }
}

fn listen_to_clicks(chat: &Rc<Chat>) {
    let clicked = Rc::clone(chat);
    chat.element.listen("click", move |event| {
        if let Some(control) = event.closest("button, a") {
            click(&clicked, &control, &event);
        }
    });
    let sent = Rc::clone(chat);
    chat.element.listen("submit", move |event| {
        if let Some(form) = event.closest("form.edit") {
            event.prevent();
            sent.submit_edit(&form);
        }
    });
    let typed = Rc::clone(chat);
    chat.element.listen("keydown", move |event| typed.key_in_edit(&event));
    chat.element.listen("input", |event| {
        if let Some(text) = event.closest(".edit textarea") {
            controls::fit_height(&text);
        }
    });
    if let (Some(button), Some(sheet)) = (dom::element("show-shortcuts"), dom::element("shortcuts")) {
        button.listen("click", move |_| sheet.show_modal());
    }
}

/// Handles a click on a button within the chat, by the button's attributes.
fn click(chat: &Rc<Chat>, control: &PageElement, event: &PageEvent) {
    let has = |name: &str| control.attribute(name).is_some();
    let turn = control.closest("[data-turn]").and_then(|answer| answer.attribute("data-turn"));
    if let Some(text) = control.attribute("data-starter") {
        chat.composer.set_text(&text);
        chat.save_draft();
        chat.composer.question.focus();
    } else if has("data-fragment") {
        event.prevent();
        let chat = Rc::clone(chat);
        spawn_local(async move { chat.load_earlier(true).await });
    } else if has("data-edit") {
        if let Some(question) = control.closest(".user-message") {
            chat.edit(&question);
        }
    } else if has("data-edit-cancel") {
        chat.cancel_edit(control);
    } else if let Some(message) = control.closest(".versions").and_then(|_| control.attribute("value")) {
        // While a turn is in progress, the form loads the page, which follows the turn again where it is shown.
        if !chat.is_busy() {
            event.prevent();
            spawn_local(Rc::clone(chat).show_version(message));
        }
    } else if has("data-again-with") {
        if let (Some(menu), Some(turn)) = (dom::element("again-models"), turn) {
            menu.set("data-turn", &turn);
        }
    } else if let Some(model) = control.attribute("data-again-model") {
        if let Some(menu) = dom::element("again-models") {
            menu.hide_popover();
        }
        if let Some(turn) = turn {
            chat.regenerate(turn, Some(model));
        }
    } else if has("data-again") {
        if let Some(turn) = turn {
            chat.regenerate(turn, None);
        }
    } else if has("data-copy-question") {
        let said = Rc::clone(chat);
        if let Some(text) = control.closest(".user-message").and_then(|message| message.attribute("data-source")) {
            clipboard::copy_from(control, text, move |text| said.announce(text));
        }
    } else if has("data-copy-answer") {
        let said = Rc::clone(chat);
        let markdown = control.closest("[data-turn]").and_then(|answer| answer.find(".markdown"));
        if let Some((markdown, turn)) = markdown.zip(turn) {
            let text = async move { api::response_text(&turn).await };
            clipboard::copy_answer(control, &markdown, text, move |text| said.announce(text));
        }
    } else if let Some(turn) = turn.filter(|_| has("data-good") || has("data-bad")) {
        let (chat, button) = (Rc::clone(chat), control.clone());
        spawn_local(async move { chat.rate(&button, &turn).await });
    } else {
        let said = Rc::clone(chat);
        clipboard::click(control, move |text| said.announce(text));
    }
}

fn listen_to_keys(chat: &Rc<Chat>) {
    let chat = Rc::clone(chat);
    dom::listen_on_page("keydown", move |event| {
        let Some(key) = event.key().filter(|key| !key.is_composing && !event.is_prevented()) else { return };
        // An open menu or dialog takes the key for itself.
        let is_open = || dom::first(":popover-open").is_some() || dom::first("dialog[open]").is_some();
        match key.name.as_str() {
            "Escape" if chat.is_busy() && !is_open() => chat.stop(),
            "?" if !event.is_in_control() && !is_open() => {
                if let Some(sheet) = dom::element("shortcuts") {
                    event.prevent();
                    sheet.show_modal();
                }
            }
            _ => {}
        }
    });
}

fn listen_to_window(chat: &Rc<Chat>) {
    let (seen, last_ms) = (Rc::clone(chat), Rc::new(Cell::new(0)));
    let on_seen = move |_: PageEvent| {
        // Coming back to a tab raises several events.
        let now_ms = clock::now_ms();
        if !dom::is_page_visible() || now_ms.saturating_sub(last_ms.replace(now_ms)) < SEEN_MS {
            return;
        }
        wake(Wake::Seen);
        let chat = Rc::clone(&seen);
        spawn_local(async move {
            chat.load_quota().await;
            chat.catch_up().await;
        });
    };
    dom::listen_on_window("focus", on_seen.clone());
    dom::listen_on_page("visibilitychange", on_seen.clone());
    dom::listen_on_window("pageshow", move |event| {
        if event.is_restored() {
            on_seen(event);
        }
    });
    let online = Rc::clone(chat);
    dom::listen_on_window("online", move |_| {
        // Each turn in progress reports its own connection.
        online.show_connected(true);
        wake(Wake::Online);
    });
    let offline = Rc::clone(chat);
    dom::listen_on_window("offline", move |_| offline.show_connected(false));
    if page::is_offline() {
        chat.show_connected(false);
    }
    let scrolled = Rc::clone(chat);
    if let Some(transcript) = dom::element("transcript") {
        transcript.listen_passively("scroll", move |_| {
            if scrolled.scroll.is_near_start() && !scrolled.is_loading.get() {
                let chat = Rc::clone(&scrolled);
                spawn_local(async move { chat.load_earlier(false).await });
            }
        });
    }
}

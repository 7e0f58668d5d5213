//! What happens to messages that the server refuses.

use super::composer::settings_of_new_conversation;
use super::live::LiveTurn;
use super::refusal::Card;
use super::state::{Chat, Message};
use crate::browser::api::{self, Refusal};
use crate::browser::clock;
use crate::browser::wake::pause;
use gloo_timers::future::TimeoutFuture;
use leptos::task::spawn_local;
use std::rc::Rc;

/// Added to a message for a shorter response.
const BRIEFLY: &str = "Answer in a few sentences.";

impl Chat {
    /// Handles a turn that was refused before it started: puts its text back into the message box and shows the card.
    pub(super) fn refuse(self: &Rc<Self>, live: &LiveTurn, message: &Message, refusal: &Refusal) {
        live.remove();
        self.restore_replaced();
        self.pending.take();
        let is_stopped = self.is_stopped.get();
        self.set_running(None);
        // Of a refused regeneration or edit, the old messages are shown again, so there is no text to put back into the message box.
        let replaces = !message.is_new();
        if refusal.kind == "in_flight_limit" && !replaces && message.files.is_empty() {
            self.enqueue_first(&message.text);
            self.wait_for_slot();
            return;
        }
        self.put_back_queue();
        if replaces && refusal.status == 409 {
            // The page shows an older state of the conversation, so the message names what the user is about to see. An edited text is kept.
            self.toast.show(&refusal.message);
            self.composer.put_back(&message.text);
            self.save_draft();
            let chat = Rc::clone(self);
            spawn_local(async move { chat.catch_up().await });
            return;
        }
        if !replaces && !is_stopped && matches!(refusal.status, 404 | 409) {
            // The message that this one was to follow may have been deleted, or have a response by now.
            self.reload();
        }
        if !replaces {
            self.composer.put_back(&message.text);
            self.composer.files.put_back(&message.files);
        }
        self.reopen_edit(message);
        self.save_draft();
        self.toast.close();
        self.announce("");
        if let Some(card) = Card::show(&self.refused, refusal, replaces) {
            self.connect_card(&Rc::new(card), message, refusal);
        }
        self.scroll.go_to_end();
        self.refresh_quota();
    }

    /// Loads the messages again, and follows a turn in progress.
    fn reload(self: &Rc<Self>) {
        let chat = Rc::clone(self);
        spawn_local(async move {
            if chat.load_messages().await {
                chat.show_newest();
            }
            chat.catch_up().await;
        });
    }

    /// Puts the waiting messages back into the message box, because the one before them wasn't answered.
    pub(super) fn put_back_queue(&self) {
        let texts = self.queue.take_all();
        if !texts.is_empty() {
            self.composer.put_back(&texts.join("\n\n"));
            self.save_draft();
        }
    }

    fn enqueue_first(self: &Rc<Self>, text: &str) {
        let chat = Rc::clone(self);
        if !self.queue.add(text, true, move || chat.save_draft()) {
            self.composer.put_back(text);
        }
        self.save_draft();
    }

    /// Sends the oldest waiting message once fewer responses are in progress. Which one ends first, and when, is unknown, so the page
    /// polls the server.
    fn wait_for_slot(self: &Rc<Self>) {
        if self.is_waiting.replace(true) {
            return;
        }
        self.announce("Your message is waiting until another response has ended.");
        let chat = Rc::clone(self);
        spawn_local(async move {
            let mut pause_ms = 1_000;
            while !chat.queue.is_empty() {
                pause(pause_ms).await;
                pause_ms = (pause_ms + 1_000).min(8_000);
                let quota = chat.load_quota().await;
                if quota.is_some_and(|quota| quota.in_flight.now < quota.in_flight.limit) {
                    break;
                }
            }
            chat.is_waiting.set(false);
            chat.send_next();
        });
    }

    fn connect_card(self: &Rc<Self>, card: &Rc<Card>, message: &Message, refusal: &Refusal) {
        let (chat, again) = (Rc::clone(self), message.clone());
        let retry = Rc::new(move || chat.retry(&again));
        let on_click = Rc::clone(&retry);
        card.on("retry", move || on_click());
        if message.is_new() && refusal.kind == "tokens_limit" {
            let (chat, text) = (Rc::clone(self), message.text.clone());
            card.on("shorter", move || chat.ask_for_less(&text));
            card.offer("shorter", None);
        }
        let (chat, offered, refused, kind) = (Rc::clone(self), Rc::clone(card), message.clone(), refusal.kind.clone());
        spawn_local(async move { chat.offer_model(&offered, &refused, &kind).await });
        let Some(wait_ms) = refusal.retry_after_ms else { return };
        let until_ms = clock::now_ms() + wait_ms;
        let (late, checked) = (Rc::clone(&retry), Rc::clone(card));
        card.on_automatic(move || {
            if checked.is_shown() && checked.is_due() {
                late();
            }
        });
        let (chat, card) = (Rc::clone(self), Rc::clone(card));
        spawn_local(async move {
            while card.is_shown() {
                let left_ms = until_ms.saturating_sub(clock::now_ms());
                card.show_wait(left_ms);
                if left_ms == 0 {
                    chat.load_quota().await;
                    if card.is_shown() && card.is_due() {
                        retry();
                    }
                    return;
                }
                TimeoutFuture::new(250).await;
            }
        });
    }

    /// Sends a refused message again, as it is in the message box or in its own form now.
    fn retry(self: &Rc<Self>, message: &Message) {
        match (&message.retry_of, message.edited.as_ref().map(Chat::edit_form)) {
            (Some(turn), _) => self.regenerate(turn.clone(), Some(message.model.clone())),
            (None, Some(form)) => form.iter().for_each(|form| self.submit_edit(form)),
            (None, None) => self.send(),
        }
    }

    /// Adds a request for a shorter answer to the message, and selects the lowest effort. The user sends the message.
    fn ask_for_less(&self, text: &str) {
        let typed = self.composer.text();
        let text = if typed.trim().is_empty() { text } else { typed.trim() };
        if !text.contains(BRIEFLY) {
            self.composer.set_text(&format!("{text}\n\n{BRIEFLY}"));
        }
        self.composer.lower_effort();
        self.save_draft();
        self.composer.question.focus_without_keyboard();
    }

    /// Offers another model of the plan that can answer now. After a refusal by a limit, only models that the message fits are offered, by the
    /// server's estimate.
    async fn offer_model(self: &Rc<Self>, card: &Rc<Card>, message: &Message, kind: &str) {
        let others = self.composer.other_models(&message.model);
        let offered = match kind {
            "tokens_limit" | "too_large" if message.is_new() => self.fitting_model(others, message).await,
            "model_unavailable" | "model_failed" | "spend_cap" | "plan_too_small" => others.into_iter().next(),
            _ => None,
        };
        let Some(model) = offered.filter(|_| card.is_shown()) else { return };
        card.offer("cheaper", Some(&self.composer.label(&model)));
        let (chat, shown) = (Rc::clone(self), Rc::clone(card));
        let again = Message { model: model.clone(), ..message.clone() };
        card.on("cheaper", move || {
            chat.composer.select(&model);
            shown.remove();
            chat.retry(&again);
        });
    }

    async fn fitting_model(&self, models: Vec<String>, message: &Message) -> Option<String> {
        let (conversation, parent) = self.place();
        let place = (conversation.as_deref(), parent.as_deref());
        let files: Vec<String> = message.files.iter().map(|file| file.id.clone()).collect();
        for model in models {
            let new = if conversation.is_none() { settings_of_new_conversation() } else { None };
            let estimate = api::estimate(place, &model, &message.text, &files, new).await?;
            if estimate.flag("fits") {
                return Some(model);
            }
        }
        None
    }
}

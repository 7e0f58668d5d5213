//! Sending messages, and following turns until they end.

use super::composer::settings_of_new_conversation;
use super::edit;
use super::live::LiveTurn;
use super::state::{Chat, Message};
use crate::browser::api::{self, Refusal, TurnState};
use crate::browser::channel::StartedTurn;
use crate::browser::dom::PageElement;
use crate::browser::json::{Json, JsonObject};
use crate::browser::stream::{Event, Events};
use crate::browser::turn::{self, End, Start};
use crate::browser::wake::pause;
use crate::browser::{clock, page};
use domain::TurnId;
use leptos::task::spawn_local;
use std::rc::Rc;

/// How often the messages of a turn that has ended are requested, and the pause in between.
const LOAD_TRIES: u32 = 100;
const LOAD_PAUSE_MS: u32 = 2_000;
/// Pauses before each look for the title that a model writes.
const TITLE_PAUSES_MS: [u32; 4] = [1_000, 2_000, 4_000, 8_000];

impl Chat {
    /// Sends the message in the box. While a response is in progress, it waits in the queue.
    pub fn send(self: &Rc<Self>) {
        let text = self.composer.text().trim().to_owned();
        if text.is_empty() {
            return;
        }
        let is_busy = self.is_busy() || !self.queue.is_empty();
        if !self.composer.files.check(is_busy) {
            return;
        }
        if is_busy {
            let chat = Rc::clone(self);
            if self.queue.add(&text, false, move || chat.save_draft()) {
                self.composer.set_text("");
                self.save_draft();
            }
            self.send_next();
            return;
        }
        self.composer.set_text("");
        let files = self.composer.files.take();
        self.submit(Message { files, ..Message::new(text, self.composer.model.value()) });
    }

    /// Sends the oldest message of the queue, unless a turn is in progress.
    pub fn send_next(self: &Rc<Self>) {
        if self.is_busy() || self.is_waiting.get() {
            return;
        }
        if let Some(text) = self.queue.take_first() {
            self.submit(Message::new(text, self.composer.model.value()));
        }
    }

    /// Starts a turn. Its text stays in the saved draft until the server has accepted it.
    pub fn submit(self: &Rc<Self>, message: Message) {
        if self.is_busy() {
            return;
        }
        self.hide_replaced(&message);
        let shown = self.shown_messages();
        let id = TurnId::at(clock::server_now()).to_string();
        let question = message.retry_of.is_none().then_some(message.text.as_str());
        let Some(live) = LiveTurn::add(&self.turns, &id, question, &self.composer.label(&message.model)) else {
            return;
        };
        live.show_files(&message.files);
        if let Some(question) = &message.edited {
            live.copy_files(question);
        }
        *self.pending.borrow_mut() = Some(message.text.clone());
        self.set_running(Some(&id));
        self.toast.close();
        self.scroll.go_to_end();
        let chat = Rc::clone(self);
        spawn_local(async move { chat.run(&live, message, &shown).await });
    }

    /// Sends a message and follows its turn. `shown` are the messages that were on the page: a new one follows the last of them.
    async fn run(self: Rc<Self>, live: &LiveTurn, message: Message, shown: &[PageElement]) {
        let conversation = self.conversation();
        let parent = match &message.edited {
            Some(question) => Some(edit::parent_of(question)),
            None if conversation.is_some() && message.is_new() => edit::last_id(shown).await,
            None => None,
        };
        let text = message.retry_of.is_none().then_some(message.text.as_str());
        let is_new = conversation.is_none();
        let settings = if is_new { settings_of_new_conversation() } else { None };
        let body = JsonObject::new()
            .with("conversation_id", conversation.as_deref())
            .with("model", Some(&message.model))
            .with("effort", self.composer.effort_of(&message.model).as_deref())
            .with("text", text)
            .with("retry_of", message.retry_of.as_deref())
            .with("parent_id", parent.as_deref())
            .with("edit_of", message.edited.as_ref().and_then(edit::id_of).as_deref())
            .with("turn_id", Some(&live.id))
            .with_list("attachments", &message.files.iter().map(|file| file.id.clone()).collect::<Vec<_>>())
            .with_object("settings", settings);
        let body = if is_new && self.is_temporary { body.with_flag("temporary", Some(true)) } else { body };
        let body = body.to_text();
        match turn::start(&live.id, &body, || self.is_stopped.get(), |on| self.show_connected(on)).await {
            Start::Streaming(events) => self.follow(live, Some(events), Some(&message)).await,
            Start::Received => self.follow(live, None, Some(&message)).await,
            Start::Refused(refusal) => self.refuse(live, &message, &refusal),
            Start::NotSent => self.refuse(live, &message, &Refusal::not_sent()),
        }
    }

    /// Follows a turn that was in progress when the page was rendered, or that another tab has started.
    pub fn follow_other(self: &Rc<Self>, turn: &str, label: &str) {
        if self.is_busy() {
            return;
        }
        if let Some(live) = LiveTurn::add(&self.turns, turn, None, label) {
            self.set_running(Some(turn));
            self.scroll.keep_end();
            let chat = Rc::clone(self);
            spawn_local(async move { chat.follow(&live, None, None).await });
        }
    }

    /// Follows a turn to its end. `message` is the one that started it on this page.
    async fn follow(self: &Rc<Self>, live: &LiveTurn, events: Option<Events>, message: Option<&Message>) {
        // The server has the message.
        self.pending.take();
        self.save_draft();
        if message.is_some() {
            self.leave_branch();
        }
        let is_failed = std::cell::Cell::new(false);
        let end = turn::follow(
            &live.id,
            events,
            |on| self.show_connected(on),
            |event| {
                is_failed.set(matches!(event, Event::Failed(_)));
                self.apply(live, event, message);
            },
        );
        match end.await {
            End::LastEvent => {}
            End::Ended => self.load_ended(live, message).await,
            End::Unknown => match message {
                Some(message) => return self.refuse(live, message, &Refusal::not_sent()),
                None => live.remove(),
            },
            End::Refused(refusal) => {
                live.failed(&refusal);
                self.announce(&refusal.message);
                is_failed.set(true);
            }
        }
        self.set_running(None);
        self.scroll.keep_end();
        self.await_title();
        if is_failed.get() {
            self.put_back_queue();
        } else {
            self.send_next();
        }
    }

    /// Shows the title that a model writes after the first response of a new conversation.
    fn await_title(self: &Rc<Self>) {
        let Some(id) = self.conversation().filter(|_| self.is_new.replace(false)) else { return };
        let chat = Rc::clone(self);
        spawn_local(async move {
            for pause_ms in TITLE_PAUSES_MS {
                pause(pause_ms).await;
                match api::conversation_title(&id).await {
                    Some((title, true)) if chat.conversation().as_ref() == Some(&id) => {
                        return page::show_written_title(&id, &title);
                    }
                    Some((_, false)) => {}
                    _ => return,
                }
            }
        });
    }

    /// Shows the messages of a turn that ended while the page was disconnected. One that was stopped before its response began has none, so
    /// its text goes back into the message box.
    async fn load_ended(self: &Rc<Self>, live: &LiveTurn, message: Option<&Message>) {
        let text = message.filter(|message| message.is_new()).map(|message| message.text.as_str());
        for _ in 0..LOAD_TRIES {
            if let Some(status) = api::turn_status(&live.id).await {
                let Some(conversation) = status.conversation else {
                    live.remove();
                    self.restore_replaced();
                    self.composer.put_back(text.unwrap_or_default());
                    self.composer.files.put_back(message.map(|message| message.files.as_slice()).unwrap_or_default());
                    self.save_draft();
                    if let Some(message) = message {
                        self.reopen_edit(message);
                    }
                    return;
                };
                if self.conversation().is_none() {
                    self.set_conversation(&conversation, text.unwrap_or_default());
                }
                if self.load_messages().await {
                    return self.announce("The response is complete.");
                }
            }
            pause(LOAD_PAUSE_MS).await;
        }
    }

    fn apply(self: &Rc<Self>, live: &LiveTurn, event: Event, message: Option<&Message>) {
        match event {
            Event::Turn(event) => self.started(live, &event, message),
            Event::Blocks(updates) => live.update(&updates),
            Event::Reasoning(text) => live.reason(&text),
            Event::Finish(event) => {
                self.announce(&live.finished(&event));
                self.show_final_quota(&event.field("quota"));
                if event.text("usage_source").as_deref() == Some("estimated") {
                    self.show_final_usage(&live.id);
                }
            }
            Event::Failed(refusal) => {
                live.failed(&refusal);
                self.announce(&refusal.message);
                self.refresh_quota();
            }
        }
        self.scroll.keep_end();
    }

    fn started(&self, live: &LiveTurn, event: &Json, message: Option<&Message>) {
        live.started(event, |model| self.composer.label(model));
        self.show_quota(&event.field("quota"));
        for replaced in self.replaced.take() {
            replaced.remove();
        }
        let Some(conversation) = event.text("conversation_id") else { return };
        if self.conversation().is_none() {
            self.set_conversation(&conversation, message.map(|message| message.text.as_str()).unwrap_or_default());
        }
        if let (Some(channel), Some(_)) = (self.channel.get(), message) {
            channel.announce(&StartedTurn { conversation, turn: live.id.clone() });
        }
    }

    /// Regenerates a response, after checking the state of its turn, which may still run. The replaced response is shown again if the server
    /// refuses.
    pub fn regenerate(self: &Rc<Self>, turn: String, model: Option<String>) {
        if self.is_busy() || self.is_loading.replace(true) {
            return;
        }
        self.composer.question.focus_without_keyboard();
        let chat = Rc::clone(self);
        spawn_local(async move {
            let status = api::turn_status(&turn).await;
            chat.is_loading.set(false);
            match status {
                None => chat.toast.show("The server can't be reached right now. Try again in a moment."),
                Some(status) if status.state == TurnState::Running => chat.catch_up_with(status).await,
                // Imported responses have no turn.
                Some(_) => {
                    let model = model.unwrap_or_else(|| chat.composer.model.value());
                    chat.submit(Message { retry_of: Some(turn), ..Message::new(String::new(), model) });
                }
            }
        });
    }

    /// Stops the turn in progress, if any.
    pub fn stop(self: &Rc<Self>) {
        if let Some(turn) = self.running() {
            self.is_stopped.set(true);
            self.composer.question.focus_without_keyboard();
            spawn_local(async move { api::stop(&turn).await });
        }
    }
}

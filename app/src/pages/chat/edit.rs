//! Editing a message in place, and moving between the versions of a message.

use super::state::{Chat, Message};
use crate::browser::dom::{self, Key, PageElement, PageEvent};
use crate::browser::{api, controls, page};
use std::rc::Rc;

/// Returns the `parent_id` of another version of a message.
pub(super) fn parent_of(question: &PageElement) -> String {
    question.attribute("data-parent").unwrap_or_else(|| "root".to_owned())
}

/// Returns the id of a message; `None` if the page doesn't know it yet.
pub(super) fn id_of(message: &PageElement) -> Option<String> {
    message.attribute("id")?.strip_prefix("m-").map(str::to_owned)
}

/// Returns the id of the last of the shown messages, which a new one follows. It is requested from the server for a response that has failed on this
/// page. One that wasn't stored is passed over.
pub(super) async fn last_id(shown: &[PageElement]) -> Option<String> {
    for message in shown.iter().rev() {
        if let Some(id) = id_of(message) {
            return Some(id);
        }
        let Some(turn) = message.attribute("data-turn") else { continue };
        if let Some(id) = api::turn_status(&turn).await.and_then(|status| status.message) {
            message.set("id", &format!("m-{id}"));
            return Some(id);
        }
    }
    None
}

/// A form within a message, in which the user edits the message or comments on the response.
pub(super) struct OpenForm {
    form: PageElement,
    /// The selector of its message.
    message: String,
    /// The text of its message, if that is the user's.
    source: Option<String>,
    /// Its element that has the focus, if any.
    focused: Option<PageElement>,
}

impl OpenForm {
    fn read(form: PageElement) -> Option<Self> {
        let message = form.closest(".user-message, .answer")?;
        let selector = match message.attribute("data-turn") {
            Some(turn) => format!(".answer[data-turn=\"{turn}\"]"),
            None => format!("[id=\"{}\"]", message.attribute("id")?),
        };
        let focused = dom::focused().filter(|focused| form.contains(focused));
        Some(Self { form, message: selector, source: message.attribute("data-source"), focused })
    }
}

impl Chat {
    /// Returns the conversation and the message that a new one would follow now; no message if that isn't known before a response has ended.
    pub(super) fn place(&self) -> (Option<String>, Option<String>) {
        let conversation = self.conversation();
        let last = if conversation.is_some() { self.shown_messages().pop() } else { None };
        (conversation, last.as_ref().and_then(id_of))
    }

    /// Opens the form that edits a message, in its place.
    pub(super) fn edit(&self, question: &PageElement) {
        if self.is_busy() {
            return;
        }
        for open in self.element.find_all(".user-message.editing") {
            close(&open);
        }
        let form = dom::from_template("edit-form", "form");
        let Some((form, text)) = form.and_then(|form| form.slot("text").map(|text| (form, text))) else { return };
        text.set_value(&question.attribute("data-source").unwrap_or_default());
        controls::fit_height(&text);
        question.append(&form);
        question.set_class("editing", true);
        text.focus();
    }

    /// Closes the form around an element without sending anything. The focus goes back to the button that opened it.
    pub(super) fn cancel_edit(&self, within: &PageElement) {
        if let Some(question) = within.closest(".user-message") {
            close(&question);
            if let Some(button) = question.find("[data-edit]") {
                button.focus();
            }
        }
    }

    /// Sends the edited message as another version.
    pub(super) fn submit_edit(self: &Rc<Self>, form: &PageElement) {
        let (Some(question), Some(text)) = (form.closest(".user-message"), form.slot("text")) else { return };
        let text = text.value().trim().to_owned();
        if text.is_empty() {
            return;
        }
        if self.is_busy() {
            return self.toast.show("A response is in progress. Send the edited message once it is complete.");
        }
        close(&question);
        let message = Message::new(text, self.composer.model.value());
        self.submit(Message { edited: Some(question), ..message });
    }

    /// Opens the form again with the text of a message that wasn't accepted, if it was an edited one.
    pub(super) fn reopen_edit(&self, message: &Message) {
        let Some(question) = &message.edited else { return };
        self.edit(question);
        if let Some(text) = question.find("form.edit [data-slot=\"text\"]") {
            text.set_value(&message.text);
            controls::fit_height(&text);
        }
    }

    /// Returns the open forms within messages, before these are replaced.
    pub(super) fn open_forms(&self) -> Vec<OpenForm> {
        self.element.find_all("form.edit, form.comment-form").into_iter().filter_map(OpenForm::read).collect()
    }

    /// Puts forms back into their messages after these were replaced. An edited text whose message isn't on the page any more is put into the
    /// message box.
    pub(super) fn put_back_forms(&self, forms: Vec<OpenForm>) {
        for OpenForm { form, message, source, focused } in forms {
            let edited = form.slot("text");
            if let Some(message) = self.element.find(&message) {
                message.append(&form);
                message.set_class("editing", edited.is_some());
                if let Some(focused) = focused {
                    focused.focus();
                }
            } else if let Some(text) = edited.map(|text| text.value()).filter(|text| source.as_ref() != Some(text)) {
                self.composer.put_back(&text);
                self.save_draft();
            }
        }
    }

    /// Returns the open form of a message.
    pub(super) fn edit_form(question: &PageElement) -> Option<PageElement> {
        question.find("form.edit")
    }

    /// Handles keys in the form: Enter sends and Escape closes it. On-screen keyboards have no Shift+Enter, so there Enter begins a new line.
    pub(super) fn key_in_edit(self: &Rc<Self>, event: &PageEvent) {
        let Some(form) = event.closest("form.edit") else { return };
        let Some(key) = event.key().filter(|key| !key.is_composing) else { return };
        match key {
            Key { ref name, .. } if name == "Escape" => {
                event.prevent();
                self.cancel_edit(&form);
            }
            Key { ref name, shift: false, command, .. }
                if name == "Enter"
                    && event.closest("textarea").is_some()
                    && (command || !dom::matches_media("(pointer: coarse)")) =>
            {
                event.prevent();
                self.submit_edit(&form);
            }
            _ => {}
        }
    }

    /// Hides the messages that a turn replaces: an edited message or a regenerated response, and all messages after it.
    pub(super) fn hide_replaced(&self, message: &Message) {
        let is_first = |shown: &PageElement| match (&message.edited, &message.retry_of) {
            (Some(question), _) => shown == question,
            (None, turn) => turn.is_some() && shown.attribute("data-turn") == *turn,
        };
        let replaced: Vec<_> = self.shown_messages().into_iter().skip_while(|shown| !is_first(shown)).collect();
        for element in &replaced {
            element.show(false);
        }
        *self.replaced.borrow_mut() = replaced;
    }

    /// Shows the messages again that a turn would have replaced.
    pub(super) fn restore_replaced(&self) {
        for element in self.replaced.take() {
            element.show(true);
        }
    }

    /// Shows another version of a message, and the messages that follow it.
    pub(super) async fn show_version(self: Rc<Self>, message: String) {
        let Some(conversation) = self.conversation() else { return };
        if self.is_loading.replace(true) {
            return;
        }
        let selected = api::select_branch(&conversation, &message).await;
        self.is_loading.set(false);
        let Ok(running) = selected else {
            return self.toast.show("This version can't be loaded right now. Try again in a moment.");
        };
        self.leave_branch();
        if self.is_busy() || !self.load_messages().await {
            return;
        }
        self.show_newest();
        let Some(shown) = dom::element(&format!("m-{message}")) else {
            // It is among earlier messages, which aren't on this page.
            return page::open(&format!("/chat/{conversation}?message={message}#m-{message}"));
        };
        if let Some(button) = shown.find(".versions button:not(:disabled)") {
            button.focus();
        }
        self.announce(&shown.slot("version-name").map(|name| name.text()).unwrap_or_default());
        if let Some((turn, model)) = running {
            self.follow_other(&turn, &self.composer.label(&model));
        }
    }
}

/// Removes the form from a message.
fn close(question: &PageElement) {
    if let Some(form) = Chat::edit_form(question) {
        form.remove();
    }
    question.set_class("editing", false);
}

//! The behavior of the Share button's popup: it shows a created link, copies and revokes it.

use super::state::Chat;
use crate::browser::api::{self, Failure};
use crate::browser::clipboard;
use crate::browser::dom::{self, PageElement};
use leptos::task::spawn_local;
use std::rc::Rc;

/// The elements of the popup.
#[derive(Clone)]
struct Popup {
    form: PageElement,
    expires: PageElement,
    error: PageElement,
    result: PageElement,
    link: PageElement,
}

impl Popup {
    fn find() -> Option<Self> {
        Some(Self {
            form: dom::element("share-form")?,
            expires: dom::element("share-expires")?,
            error: dom::element("share-error")?,
            result: dom::element("share-result")?,
            link: dom::element("share-link")?,
        })
    }

    /// Shows the form, or the link that was created.
    fn show(&self, has_link: bool) {
        self.form.show(!has_link);
        self.result.show(has_link);
        self.fail("");
    }

    /// Shows an error message; none if the text is empty.
    fn fail(&self, message: &str) {
        self.error.set_text(message);
        self.error.show(!message.is_empty());
    }

    fn refuse(&self, failure: &Failure) {
        match failure {
            Failure::Offline => self.fail("The server can't be reached. Check your connection and try again."),
            Failure::Refused(refusal) => self.fail(&refusal.message),
        }
    }

    async fn create(&self, conversation: &str) {
        match api::share(conversation, &self.expires.value()).await {
            Ok(created) => {
                self.link.set_value(&created.text("url").unwrap_or_default());
                self.result.set("data-share", &created.text("share_id").unwrap_or_default());
                self.show(true);
                self.link.focus();
            }
            Err(failure) => self.refuse(&failure),
        }
    }

    async fn revoke(&self) {
        let share = self.result.attribute("data-share").unwrap_or_default();
        match api::revoke_share(&share).await {
            Ok(()) => {
                self.link.set_value("");
                self.show(false);
                self.expires.focus();
            }
            Err(failure) => self.refuse(&failure),
        }
    }
}

/// Connects the popup to the page.
pub(super) fn listen(chat: &Rc<Chat>) {
    let Some(popup) = Popup::find() else { return };
    let (shown, of) = (popup.clone(), Rc::clone(chat));
    popup.form.listen("submit", move |event| {
        if let Some(conversation) = of.conversation() {
            event.prevent();
            let popup = shown.clone();
            spawn_local(async move { popup.create(&conversation).await });
        }
    });
    if let Some(copy) = dom::element("share-copy") {
        let (shown, chat, button) = (popup.clone(), Rc::clone(chat), copy.clone());
        copy.listen("click", move |_| {
            let chat = Rc::clone(&chat);
            clipboard::copy_from(&button, shown.link.value(), move |text| chat.announce(text));
        });
    }
    if let Some(revoke) = dom::element("share-revoke") {
        let (shown, chat) = (popup.clone(), Rc::clone(chat));
        revoke.listen("click", move |_| {
            let (popup, chat) = (shown.clone(), Rc::clone(&chat));
            spawn_local(async move {
                popup.revoke().await;
                if popup.result.is_hidden() {
                    chat.announce("The link was revoked.");
                }
            });
        });
    }
    if let Some(again) = dom::element("share-again") {
        again.listen("click", move |_| {
            popup.show(false);
            popup.expires.focus();
        });
    }
}

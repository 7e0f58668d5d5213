//! Ratings of responses, with a comment for the site's owner.

use super::state::Chat;
use crate::browser::api;
use crate::browser::dom::{self, PageElement};
use leptos::task::spawn_local;
use std::rc::Rc;

impl Chat {
    /// Saves the opinion of a response for which its button was pressed; pressing it again removes it. Then offers to comment on it.
    pub(super) async fn rate(self: &Rc<Self>, button: &PageElement, turn: &str) {
        let is_good = button.attribute("data-good").is_some();
        let is_on = button.attribute("aria-pressed").as_deref() != Some("true");
        if api::feedback(turn, is_on.then_some(is_good), None).await.is_err() {
            return self.toast.show("Your feedback couldn't be saved. Try again in a moment.");
        }
        let Some(answer) = button.closest("[data-turn]") else { return };
        for other in answer.find_all("[data-good], [data-bad]") {
            let is_pressed = is_on && other == *button;
            other.set("aria-pressed", if is_pressed { "true" } else { "false" });
        }
        self.announce(if is_on { "Feedback saved" } else { "Feedback removed" });
        // A comment that is being written is kept when the rating changes.
        let form = answer.find(".comment-form");
        match form {
            Some(form) if is_on => form.set("data-rating", if is_good { "good" } else { "bad" }),
            Some(form) => form.remove(),
            None if is_on => self.offer_comment(&answer, turn, is_good),
            None => {}
        }
    }

    /// Shows the form of a comment below a response.
    fn offer_comment(self: &Rc<Self>, answer: &PageElement, turn: &str, is_good: bool) {
        let Some(form) = dom::from_template("comment-form", ".comment-form") else { return };
        form.set("data-rating", if is_good { "good" } else { "bad" });
        if let Some(skip) = form.slot("skip") {
            let shown = form.clone();
            skip.listen("click", move |_| shown.remove());
        }
        let (chat, shown, turn) = (Rc::clone(self), form.clone(), turn.to_owned());
        form.listen("submit", move |event| {
            event.prevent();
            let (chat, shown, turn) = (Rc::clone(&chat), shown.clone(), turn.clone());
            spawn_local(async move { chat.comment(&shown, &turn).await });
        });
        answer.append(&form);
        self.scroll.keep_end();
    }

    /// Sends a comment. If that fails, the form and its text are kept.
    async fn comment(self: &Rc<Self>, form: &PageElement, turn: &str) {
        let Some(text) = form.slot("comment").map(|field| field.value()) else { return };
        if text.trim().is_empty() {
            return form.remove();
        }
        let is_good = form.attribute("data-rating").as_deref() == Some("good");
        match api::feedback(turn, Some(is_good), Some(text.trim())).await {
            Ok(()) => {
                form.remove();
                self.announce("Comment sent");
                self.toast.show("Thank you. Your comment was sent.");
            }
            Err(message) => {
                let message =
                    message.unwrap_or_else(|| "Your comment couldn't be sent. Try again in a moment.".to_owned());
                self.toast.show(&message);
            }
        }
    }
}

//! The card shown instead of a response: the message of a refusal, when to try again, and what else can be done.

use crate::browser::api::Refusal;
use crate::browser::clock;
use crate::browser::dom::{self, PageElement};
use crate::browser::page;
use crate::components::duration::wait;
use std::cell::Cell;

/// The card of the last refusal.
pub(super) struct Card {
    element: PageElement,
    container: PageElement,
    /// Whether the wait is over.
    is_over: Cell<bool>,
}

impl Card {
    /// Shows the card of a refusal in place of any earlier one. Returns `None` if the page lacks the template.
    pub fn show(container: &PageElement, refusal: &Refusal, is_regeneration: bool) -> Option<Self> {
        let element = dom::from_template("refusal-card", ".refusal")?;
        for part in element.find_all("[data-kinds]") {
            let kinds = part.attribute("data-kinds").unwrap_or_default();
            if !kinds.split_whitespace().any(|kind| kind == refusal.kind) {
                part.remove();
            }
        }
        let card = Self { element, container: container.clone(), is_over: Cell::new(false) };
        card.slot("message", |slot| slot.set_text(&message(&refusal.message, is_regeneration)));
        if let Some(plan) = &refusal.upgrade {
            card.slot("upgrade", |slot| {
                slot.set("href", &format!("/pricing?plan={plan}#{plan}"));
                slot.show(true);
            });
        }
        // The draft is kept for this page, so the user comes back to it.
        if let Some((link, href)) = card.element.find("a[href=\"/sign-in\"]").zip(page::sign_in_href()) {
            link.set("href", &href);
        }
        // The moment is computed once. Waits of up to a minute show only the countdown.
        let moment = refusal.retry_after_ms.filter(|ms| *ms > 60_000).map(|ms| format!(", {}", clock::moment_in(ms)));
        card.slot("at", |slot| slot.set_text(&moment.unwrap_or_default()));
        card.slot("auto", |slot| slot.show(refusal.retry_after_ms.is_some()));
        if let Some(ms) = refusal.retry_after_ms {
            card.show_wait(ms);
        }
        container.clear();
        container.append(&card.element);
        Some(card)
    }

    fn slot(&self, name: &str, fill: impl FnOnce(&PageElement)) {
        if let Some(slot) = self.element.slot(name) {
            fill(&slot);
        }
    }

    /// Shows the remaining wait.
    pub fn show_wait(&self, left_ms: u64) {
        let is_waiting = left_ms > 0;
        self.is_over.set(!is_waiting);
        self.slot("countdown", |slot| slot.set_text(&wait(left_ms)));
        self.slot("wait", |slot| slot.show(is_waiting));
        self.slot("now", |slot| slot.show(!is_waiting));
        self.slot("retry", |slot| slot.mark("disabled", is_waiting));
    }

    /// Returns whether the card is still on the page.
    pub fn is_shown(&self) -> bool {
        self.container.contains(&self.element)
    }

    /// Removes it.
    pub fn remove(&self) {
        self.element.remove();
    }

    /// Returns whether the wait is over and the user has chosen "Send when possible".
    pub fn is_due(&self) -> bool {
        self.is_over.get() && self.is_automatic()
    }

    fn is_automatic(&self) -> bool {
        self.element.find("[data-slot=\"auto\"] input").is_some_and(|input| input.is_checked())
    }

    /// Calls a handler when the user selects or clears "Send when possible".
    pub fn on_automatic(&self, handler: impl Fn() + 'static) {
        self.slot("auto", |slot| slot.listen("change", move |_| handler()));
    }

    /// Calls a handler when a button of the card is clicked.
    pub fn on(&self, slot: &str, handler: impl Fn() + 'static) {
        self.slot(slot, |slot| slot.listen("click", move |_| handler()));
    }

    /// Offers a button of the card; for another model, with its name.
    pub fn offer(&self, slot: &str, label: Option<&str>) {
        if let Some(label) = label {
            self.slot(&format!("{slot}-label"), |slot| slot.set_text(label));
        }
        self.slot(slot, |slot| slot.show(true));
    }
}

/// The sentences of problems about the text that was put back into the message box, without their first letter.
const RETURNED: [&str; 3] =
    ["our text is back in the message box", "our text is back in the box", "our message is back in the message box"];

/// Returns a refusal's message as it applies to this turn. The text of a refused message is put back into the message box, and the message
/// says so. Of a refused regeneration nothing is put back: the earlier response and its question are still shown.
fn message(message: &str, is_regeneration: bool) -> String {
    if !is_regeneration {
        let says_so = message.contains(" box") || message.contains("draft is kept");
        return if says_so {
            message.to_owned()
        } else {
            format!("{message} Your message is back in the message box.")
        };
    }
    let kept = RETURNED.iter().fold(message.to_owned(), |message, returned| {
        let message = message.replace(&format!("Y{returned}"), "The earlier response is kept");
        message.replace(&format!("y{returned}"), "the earlier response is kept")
    });
    if kept.contains("earlier response is kept") { kept } else { format!("{kept} The earlier response is kept.") }
}

#[cfg(test)]
mod tests {
    use super::message;
    use domain::{Problem, Tokens};

    /// Field note 59: the card states where the user's text is, and the text is there.
    #[test]
    fn refused_messages_say_where_the_text_is() {
        let of = |problem: Problem| message(&problem.message, false);
        for problem in [
            Problem::too_large(Tokens(9), Tokens(8), None),
            Problem::model_failed(),
            Problem::model_unavailable(1),
            Problem::limits_unavailable(),
            Problem::chat_paused(),
            Problem::stopped(),
        ] {
            let text = of(problem);
            let says = [" box", "draft is kept"].iter().filter(|words| text.contains(**words)).count();
            assert_eq!(says, 1, "{text}");
        }
    }

    #[test]
    fn refused_regenerations_promise_no_text() {
        for (text, expected) in [
            (
                "Nothing was sent, and your text is back in the message box.",
                "Nothing was sent, and the earlier response is kept.",
            ),
            (
                "Your text is back in the box; choose another model.",
                "The earlier response is kept; choose another model.",
            ),
            ("Try again in a minute.", "Try again in a minute. The earlier response is kept."),
        ] {
            assert_eq!(message(text, true), expected);
        }
        assert!(!message(&Problem::stopped().message, true).contains(" box"));
    }
}

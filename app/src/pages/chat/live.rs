//! A turn that started after the page was rendered: copies of the page's templates, filled as its events arrive. They look like those that the
//! server renders after a reload.

use super::attach::UploadedFile;
use super::cost::dollars;
use crate::browser::api::Refusal;
use crate::browser::dom::{self, PageElement};
use crate::browser::json::Json;
use crate::browser::morph::{Blocks, Update};
use domain::Tokens;
use std::cell::{Cell, RefCell};

/// A user's message and its response on the page.
pub(super) struct LiveTurn {
    /// The turn's id.
    pub id: String,
    question: Option<PageElement>,
    answer: PageElement,
    blocks: RefCell<Blocks>,
    has_reasoning: Cell<bool>,
    /// Whether nothing of the response has arrived.
    is_thinking: Cell<bool>,
}

impl LiveTurn {
    /// Adds a turn to the page. `question` is the user's message, unless the page already shows it; `label` is the model's name. Returns
    /// `None` if the page lacks the templates.
    pub fn add(turns: &PageElement, id: &str, question: Option<&str>, label: &str) -> Option<Self> {
        let answer = dom::from_template("live-turn", ".answer")?;
        let blocks = Blocks::new(&answer.slot("markdown")?);
        answer.set("data-turn", id);
        answer.set("aria-busy", "true");
        if let Some(model) = answer.slot("model") {
            model.set_text(label);
        }
        let question = question.and_then(|text| {
            let message = dom::from_template("user-message", ".user-message")?;
            message.set("data-source", text);
            message.slot("message")?.set_text(text);
            turns.append(&message);
            Some(message)
        });
        turns.append(&answer);
        Some(Self {
            id: id.to_owned(),
            question,
            answer,
            blocks: RefCell::new(blocks),
            has_reasoning: Cell::new(false),
            is_thinking: Cell::new(true),
        })
    }

    /// Shows the files of the user's message.
    pub fn show_files(&self, files: &[UploadedFile]) {
        let Some(slot) = self.question.as_ref().and_then(|question| question.slot("files")) else { return };
        for link in files.iter().filter_map(UploadedFile::sent_link) {
            slot.append(&link);
        }
        slot.show(!files.is_empty());
    }

    /// Shows the files of another version of the user's message, which this one keeps.
    pub fn copy_files(&self, version: &PageElement) {
        let Some(slot) = self.question.as_ref().and_then(|question| question.slot("files")) else { return };
        let links: Vec<_> = version.find_all(".sent-file").iter().filter_map(PageElement::copy).collect();
        for link in &links {
            slot.append(link);
        }
        slot.show(!links.is_empty());
    }

    /// Removes it from the page.
    pub fn remove(&self) {
        if let Some(question) = &self.question {
            question.remove();
        }
        self.answer.remove();
    }

    fn slot(&self, name: &str, fill: impl FnOnce(&PageElement)) {
        if let Some(slot) = self.answer.slot(name) {
            fill(&slot);
        }
    }

    /// Shows the content of the first event. `label_of` returns a model's display name.
    pub fn started(&self, event: &Json, label_of: impl Fn(&str) -> String) {
        let label = event.text("label").or_else(|| event.text("model").map(|model| label_of(&model)));
        let label = label.unwrap_or_default();
        self.slot("model", |slot| slot.set_text(&label));
        if let Some(missing) = event.text("fallback_for").map(|model| label_of(&model)) {
            self.slot("fallback-text", |slot| {
                slot.set_text(&format!("{missing} is unavailable right now. {label} answered instead."));
            });
            self.slot("fallback", |slot| slot.show(true));
        }
        if let Some(note) = event.text("history_cut").and_then(|cut| note("data-history", &cut)) {
            self.slot("history", |slot| {
                slot.clear();
                slot.append(&note);
                slot.show(true);
            });
        }
        self.place(event);
        let message = self.question.as_ref().and_then(|question| question.slot("message"));
        if let (Some(html), Some(message)) = (event.text("user_html"), message) {
            message.set_html(&html);
            message.set_class("plain", false);
        }
    }

    /// Marks the messages with their place in the conversation, and shows their other versions.
    fn place(&self, event: &Json) {
        let place = event.field("question");
        let (Some(conversation), Some(id)) = (event.text("conversation_id"), place.text("message_id")) else { return };
        if let Some(question) = &self.question {
            question.set("id", &format!("m-{id}"));
            question.set_option("data-parent", place.text("parent_id").as_deref());
            let versions = place.texts("versions");
            if let Some(index) = versions.iter().position(|version| *version == id) {
                show_versions(question, &conversation, &versions, (index, versions.len()));
            }
        }
        let others = place.texts("other_responses");
        show_versions(&self.answer, &conversation, &others, (others.len(), others.len() + 1));
    }

    /// Applies changes of the response.
    pub fn update(&self, updates: &[Update]) {
        let mut blocks = self.blocks.borrow_mut();
        for update in updates {
            blocks.apply(update);
        }
        self.stop_thinking();
    }

    /// Hides the cursor that is shown until the response begins. Its element follows the response, so finding it takes longer the longer that is.
    fn stop_thinking(&self) {
        if self.is_thinking.replace(false) {
            self.slot("thinking", |slot| slot.show(false));
        }
    }

    /// Appends to the reasoning.
    pub fn reason(&self, text: &str) {
        self.slot("reasoning-text", |slot| slot.append_text(text));
        if !self.has_reasoning.get() && !text.trim().is_empty() {
            self.has_reasoning.set(true);
            self.slot("reasoning", |slot| slot.show(true));
        }
    }

    /// Shows how the turn ended, by its last event. Returns what to announce.
    pub fn finished(&self, event: &Json) -> String {
        if let Some(id) = event.text("message_id") {
            self.answer.set("id", &format!("m-{id}"));
        }
        let usage = event.field("usage");
        let counted = ["input", "cache_read", "cache_write", "output"].map(|kind| usage.number(kind).unwrap_or(0));
        let used = format_used(counted.iter().sum(), event.text("cost_usd").as_deref());
        self.slot("used", |slot| slot.set_text(&used));
        let outcome = event.text("outcome").unwrap_or_default();
        let is_reasoning_only = !self.blocks.borrow().has_text() && self.has_reasoning.get();
        let status = if outcome == "truncated" && is_reasoning_only { "truncated-reasoning" } else { &outcome };
        self.end(status, None).unwrap_or_else(|| "The response is complete.".to_owned())
    }

    /// Shows that the turn failed. The text so far is kept.
    pub fn failed(&self, refusal: &Refusal) {
        let tool_call = sentence(note("data-status", "tool_call").as_ref());
        if tool_call.is_some_and(|sentence| sentence == refusal.message) {
            self.end("tool_call", None);
        } else {
            self.end("failed", Some(&refusal.message));
        }
    }

    /// Ends the turn with the note of a status, if it has one. Returns the note's sentence.
    fn end(&self, status: &str, details: Option<&str>) -> Option<String> {
        self.answer.set("aria-busy", "false");
        self.stop_thinking();
        let note = note("data-status", status);
        if let Some(note) = &note {
            if let (Some(details), Some(slot)) = (details, note.slot("details")) {
                slot.set_text(details);
            }
            self.slot("note", |slot| {
                slot.clear();
                slot.append(note);
                slot.show(true);
            });
        }
        let retry = note.as_ref().and_then(|note| note.attribute("data-retry")).unwrap_or_else(|| "Regenerate".into());
        if let Some(button) = self.answer.find("[data-again]") {
            button.set("aria-label", &retry);
            button.set("title", &retry);
        }
        self.slot("foot", |slot| {
            slot.set_class("retry", retry != "Regenerate");
            slot.show(true);
        });
        sentence(note.as_ref())
    }
}

/// Formats what a turn used: its tokens and, if shown, its exact cost in dollars.
pub(super) fn format_used(tokens: u64, cost_usd: Option<&str>) -> String {
    let cost = cost_usd.map(|usd| format!(" · {}", dollars(usd))).unwrap_or_default();
    format!("{} tokens{cost}", Tokens(tokens))
}

/// Fills in the form that moves between versions, of which the message has the one at `index`, and shows it if there are several.
fn show_versions(message: &PageElement, conversation: &str, versions: &[String], (index, count): (usize, usize)) {
    let Some(form) = message.slot("versions") else { return };
    form.set("action", &format!("/chat/{conversation}/branch"));
    let neighbor = |index: Option<usize>| index.and_then(|index| versions.get(index)).map(String::as_str);
    for (name, id) in [("previous", neighbor(index.checked_sub(1))), ("next", neighbor(index.checked_add(1)))] {
        if let Some(button) = form.slot(name) {
            button.set_option("value", id);
            button.mark("disabled", id.is_none());
        }
    }
    let number = index + 1;
    for (name, text) in
        [("version-name", format!("Version {number} of {count}")), ("version-number", format!("{number}/{count}"))]
    {
        if let Some(slot) = form.slot(name) {
            slot.set_text(&text);
        }
    }
    form.show(count > 1);
}

/// Returns a copy of a note that the server rendered for a status.
fn note(attribute: &str, status: &str) -> Option<PageElement> {
    // Statuses are names of the server, but this one becomes a selector.
    let is_name = !status.is_empty() && status.bytes().all(|byte| byte.is_ascii_lowercase() || b"_-".contains(&byte));
    if is_name { dom::from_template("notes", &format!("[{attribute}=\"{status}\"]")) } else { None }
}

fn sentence(note: Option<&PageElement>) -> Option<String> {
    Some(note?.slot("sentence")?.text())
}

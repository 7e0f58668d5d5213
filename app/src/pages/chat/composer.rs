//! The behavior of the message box and the pickers beside it.

use super::attach::Files;
use super::meter::compact;
use crate::browser::api;
use crate::browser::dom::{self, PageElement};
use crate::browser::json::{Json, JsonObject};
use crate::browser::{controls, draft};
use futures::future::{AbortHandle, abortable};
use gloo_timers::future::TimeoutFuture;
use leptos::task::spawn_local;
use std::cell::RefCell;
use std::rc::Rc;

/// Length in bytes from which a draft's tokens are estimated. Shorter ones don't matter.
const MIN_ESTIMATED: usize = 200;
/// Pause in typing after which they are estimated, in milliseconds.
const PAUSE_MS: u32 = 400;

/// Returns the settings that a new conversation starts with, as the server reads them; `None` if nothing is set. The model and the effort
/// are sent beside them.
pub(super) fn settings_of_new_conversation() -> Option<JsonObject> {
    let value = |id: &str| dom::element(id).map(|field| field.value()).filter(|value| !value.trim().is_empty());
    let (instructions, length) = (value("settings-instructions"), value("settings-length"));
    (instructions.is_some() || length.is_some()).then(|| {
        JsonObject::new().with("instructions", instructions.as_deref()).with("answer_length", length.as_deref())
    })
}

/// The message box, the pickers, Send and Stop.
pub(super) struct Composer {
    /// The form around all of it.
    pub form: PageElement,
    /// The message box.
    pub question: PageElement,
    /// The model picker.
    pub model: PageElement,
    /// The picker of the reasoning effort.
    pub effort: PageElement,
    send: PageElement,
    /// The files of the next message.
    pub files: Rc<Files>,
    /// The button that stops the response in progress.
    pub stop: PageElement,
    estimate: PageElement,
    estimating: RefCell<Option<AbortHandle>>,
}

impl Composer {
    /// Finds the form that the server rendered.
    pub fn find() -> Option<Self> {
        Some(Self {
            form: dom::element("composer")?,
            question: dom::element("question")?,
            model: dom::element("model")?,
            effort: dom::element("effort")?,
            files: Files::find()?,
            send: dom::element("send")?,
            stop: dom::element("stop")?,
            estimate: dom::element("estimate")?,
            estimating: RefCell::default(),
        })
    }

    /// Returns the text in the box.
    pub fn text(&self) -> String {
        self.question.value()
    }

    /// Replaces the text in the box.
    pub fn set_text(&self, text: &str) {
        self.question.set_value(text);
        self.text_changed();
    }

    /// Puts a text before what has been typed since.
    pub fn put_back(&self, text: &str) {
        match self.text() {
            _ if text.is_empty() => {}
            typed if typed.trim().is_empty() => self.set_text(text),
            typed => self.set_text(&format!("{text}\n\n{typed}")),
        }
    }

    /// Updates what depends on the text.
    pub fn text_changed(&self) {
        let text = self.text();
        self.send.mark("disabled", text.trim().is_empty());
        if !self.is_estimated(&text) {
            self.abandon_estimate();
            self.estimate.show(false);
        }
        controls::fit_height(&self.question);
    }

    /// Returns whether a draft is large enough to be estimated.
    fn is_estimated(&self, text: &str) -> bool {
        text.len() >= MIN_ESTIMATED || (!text.trim().is_empty() && !self.files.ids().is_empty())
    }

    /// Shows Stop instead of Send while a response is in progress.
    pub fn set_busy(&self, is_busy: bool) {
        let had_focus = dom::focused().is_some_and(|focused| focused == self.stop || focused == self.send);
        self.stop.show(is_busy);
        self.send.show(!is_busy);
        if !is_busy {
            self.files.hide_busy_note();
        }
        if had_focus {
            self.question.focus_without_keyboard();
        }
    }

    /// Selects the model and the effort of this conversation, or those of the last one if this one has none.
    pub fn restore_choices(&self) {
        if let Some(model) = self.model.attribute("data-chosen") {
            self.model.set_value(&model);
            self.fill_efforts(&self.effort.attribute("data-chosen").unwrap_or_default());
        } else {
            if let Some(model) = draft::remembered("model").filter(|model| self.is_included(model)) {
                self.model.set_value(&model);
            }
            self.fill_efforts(&draft::remembered("effort").unwrap_or_default());
        }
        self.update_files_model();
    }

    /// Updates the efforts for another model and remembers it.
    pub fn model_changed(&self) {
        draft::remember("model", &self.model.value());
        let effort = self.effort.value();
        self.fill_efforts(&effort);
        self.update_files_model();
    }

    /// Sets the model that reads the files.
    fn update_files_model(&self) {
        let model = self.model.value();
        self.files.set_model(&model, &self.label(&model));
    }

    /// Selects an effort, if the selected model has it.
    pub fn select_effort(&self, effort: &str) {
        self.fill_efforts(effort);
        self.effort_changed();
    }

    /// Remembers another effort.
    pub fn effort_changed(&self) {
        draft::remember("effort", &self.effort.value());
    }

    /// Offers the selected model's efforts and selects one, if the model has it.
    fn fill_efforts(&self, selected: &str) {
        let efforts = self.option(&self.model.value()).and_then(|option| option.attribute("data-efforts"));
        let efforts = efforts.unwrap_or_default();
        for option in self.effort.find_all("option:not([value=\"\"])") {
            option.remove();
        }
        for effort in efforts.split_whitespace() {
            if let Some(option) = PageElement::create("option") {
                option.set("value", effort);
                option.set_text(&format!("{effort} effort"));
                self.effort.append(&option);
            }
        }
        let has_it = efforts.split_whitespace().any(|effort| effort == selected);
        self.effort.set_value(if has_it { selected } else { "" });
        self.effort.show(!efforts.trim().is_empty());
    }

    /// Selects the lowest effort, if the model has any.
    pub fn lower_effort(&self) {
        if let Some(lowest) = self.effort.find("option:not([value=\"\"])") {
            self.effort.set_value(&lowest.value());
        }
    }

    fn option(&self, model: &str) -> Option<PageElement> {
        self.model.find_all("option").into_iter().find(|option| option.value() == model)
    }

    /// Returns whether the plan includes a model.
    pub fn is_included(&self, model: &str) -> bool {
        self.option(model).is_some_and(|option| option.attribute("data-locked").is_none())
    }

    /// Returns a model's display name, or its API name if it is unavailable.
    pub fn label(&self, model: &str) -> String {
        self.option(model).and_then(|option| option.attribute("data-label")).unwrap_or_else(|| model.to_owned())
    }

    /// Returns the models of the plan except for one.
    pub fn other_models(&self, except: &str) -> Vec<String> {
        let models = self.model.find_all("option").into_iter().map(|option| option.value());
        models.filter(|model| model != except && self.is_included(model)).collect()
    }

    /// Selects a model.
    pub fn select(&self, model: &str) {
        self.model.set_value(model);
        self.model_changed();
    }

    /// Returns the selected effort, if it is one of this model's.
    pub fn effort_of(&self, model: &str) -> Option<String> {
        let effort = self.effort.value();
        let efforts = self.option(model)?.attribute("data-efforts")?;
        efforts.split_whitespace().any(|of_model| of_model == effort).then_some(effort)
    }

    /// Estimates the draft once the user pauses, and shows the tokens next to the remaining quota. An earlier estimate is abandoned. `place` returns
    /// the conversation and the message that the draft follows; finding them takes longer the more messages the page shows, so not every key
    /// does. `on_quota` gets the quota that comes with the estimate.
    pub fn estimate(
        self: &Rc<Self>,
        place: impl FnOnce() -> (Option<String>, Option<String>) + 'static,
        on_quota: impl Fn(&Json) + 'static,
    ) {
        self.abandon_estimate();
        let text = self.text();
        if !self.is_estimated(&text) {
            return;
        }
        let composer = Rc::clone(self);
        let (estimating, handle) = abortable(async move {
            TimeoutFuture::new(PAUSE_MS).await;
            let (model, files) = (composer.model.value(), composer.files.ids());
            let (conversation, parent) = place();
            let place = (conversation.as_deref(), parent.as_deref());
            let new = if place.0.is_none() { settings_of_new_conversation() } else { None };
            if let Some(estimate) = api::estimate(place, &model, text.trim(), &files, new).await {
                on_quota(&estimate.field("quota"));
                composer.show_estimate(&estimate);
            }
        });
        self.estimating.replace(Some(handle));
        spawn_local(async move {
            // Abandoned, or done.
            let _ = estimating.await;
        });
    }

    fn abandon_estimate(&self) {
        if let Some(earlier) = self.estimating.take() {
            earlier.abort();
        }
    }

    fn show_estimate(&self, estimate: &Json) {
        let left = estimate.field("quota").field("tokens").number("remaining");
        if let (Some(tokens), Some(left)) = (estimate.number("input_tokens"), left) {
            self.estimate.set_text(&format!("≈ {} of {} left", compact(tokens), compact(left)));
            self.estimate.mark("data-over", !estimate.flag("fits"));
            self.estimate.show(true);
        }
    }
}

//! The behavior of a conversation's settings on the page: their forms apply to a new conversation once it has begun, and their pickers are synced with those beside the message box.

use super::composer::Composer;
use crate::browser::dom::{self, PageElement};
use std::rc::Rc;

/// Updates the forms of the settings for a new conversation that has just got its id.
pub(super) fn show_conversation(id: &str) {
    for (form, path) in [("settings-form", "settings"), ("preset-form", "settings"), ("end-form", "end")] {
        if let Some(form) = dom::element(form) {
            form.set("action", &format!("/chat/{id}/{path}"));
            form.set("method", "post");
            form.show(true);
        }
    }
    let slot = |name: &str, is_shown: bool| {
        if let Some(slot) = dom::element("settings-form").and_then(|form| form.slot(name)) {
            slot.show(is_shown);
        }
    };
    slot("save", true);
    slot("close", false);
    slot("new", false);
    if let Some(link) = dom::element("temporary-switch") {
        link.show(false);
    }
}

/// Lets the pickers beside the message box and those of the settings follow each other.
pub(super) fn connect(composer: &Rc<Composer>) {
    let follow = |from: &PageElement, id: &str| {
        let (Some(to), picker) = (dom::element(id), from.clone()) else { return };
        from.listen("change", move |_| to.set_value(&picker.value()));
    };
    follow(&composer.model, "settings-model");
    follow(&composer.effort, "settings-effort");
    if let Some(model) = dom::element("settings-model") {
        let (composer, picker) = (Rc::clone(composer), model.clone());
        model.listen("change", move |_| {
            let chosen = picker.value();
            if composer.is_included(&chosen) {
                composer.select(&chosen);
            }
        });
    }
    if let Some(effort) = dom::element("settings-effort") {
        let (composer, picker) = (Rc::clone(composer), effort.clone());
        effort.listen("change", move |_| composer.select_effort(&picker.value()));
    }
}

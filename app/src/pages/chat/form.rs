//! The message box with the model picker, the ring of remaining tokens, Send and Stop. Rendered by the server. The island makes it work;
//! until then text can be typed and Send is disabled.

use super::files::{AttachButton, ChosenFiles};
use crate::components::icon::{Draw, Icon};
use crate::components::meter::Ring;
use crate::view::conversation::AvailableModel;
use domain::{ChatSettings, Quota};
use leptos::prelude::*;

/// The form for a new message.
#[component]
pub(super) fn MessageForm(
    /// Available models, the default first.
    models: Vec<AvailableModel>,
    /// The conversation's settings, whose model is selected if it can be used.
    settings: ChatSettings,
    /// The remaining quota; `None` if it can't be loaded.
    quota: Option<Quota>,
) -> impl IntoView {
    let is_usable = |choice: &AvailableModel| choice.allowed && settings.model.as_ref() == Some(&choice.name);
    let chosen = models.iter().position(is_usable);
    let (chosen_model, chosen_effort) = (chosen.and(settings.model), chosen.and(settings.effort));
    let default = chosen.unwrap_or(0);
    let options = models.into_iter().enumerate().map(|(index, choice)| option(choice, index == default)).collect_view();
    view! {
        <form id="composer" class="composer">
            <label class="unseen" for="question">"Message"</label>
            <div class="grown"><textarea id="question" name="text" rows="1" dir="auto" placeholder="Ask anything"></textarea></div>
            <ChosenFiles/>
            <div class="composer-foot">
                <AttachButton/>
                <select id="model" aria-label="Model" translate="no" data-chosen=chosen_model.map(|name| name.0)>{options}</select>
                <select id="effort" aria-label="Reasoning effort" hidden=true data-chosen=chosen_effort><option value="">"default effort"</option></select>
                <span id="loading" class="hint">"Loading…"</span>
                <span id="estimate" class="estimate" translate="no" hidden=true></span>
                <div class="composer-end">
                    <Ring quota/>
                    <button type="submit" id="send" class="send" aria-label="Send" disabled=true><Draw icon=Icon::ArrowUp/></button>
                    <button type="button" id="stop" class="send" aria-label="Stop" hidden=true><Draw icon=Icon::Square/></button>
                </div>
            </div>
        </form>
    }
}

/// Renders a model of the picker, with the attributes that the island reads.
fn option(choice: AvailableModel, is_default: bool) -> impl IntoView {
    let AvailableModel { name, label, allowed, efforts, .. } = choice;
    let text = if allowed { label.clone() } else { format!("{label} (larger plan)") };
    let efforts = (!efforts.is_empty()).then(|| efforts.join(" "));
    let is_locked = !allowed;
    view! { <option value=name.0 selected=is_default data-label=label data-efforts=efforts data-locked=is_locked>{text}</option> }
}

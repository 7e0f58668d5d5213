//! The fields of a conversation's settings, which presets have too.

use crate::components::field::{Choice, TextArea};
use crate::view::conversation::AvailableModel;
use domain::chat_settings::MAX_INSTRUCTIONS;
use domain::{AnswerLength, ChatSettings};
use leptos::prelude::*;

/// Fields for instructions, model, reasoning effort and the length of answers.
#[component]
pub fn SettingsFields(
    /// What is set.
    settings: ChatSettings,
    /// Models that can be chosen. Those outside of the viewer's plan are left out.
    models: Vec<AvailableModel>,
    /// Help text under the instructions.
    hint: &'static str,
) -> impl IntoView {
    let ChatSettings { instructions, model, effort, answer_length } = settings;
    let allowed: Vec<AvailableModel> = models.into_iter().filter(|choice| choice.allowed).collect();
    let mut efforts: Vec<String> = Vec::new();
    for name in allowed.iter().flat_map(|choice| &choice.efforts) {
        if !efforts.contains(name) {
            efforts.push(name.clone());
        }
    }
    let default = |text: &str| std::iter::once((String::new(), text.to_owned()));
    let has_efforts = !efforts.is_empty();
    let efforts = default("Default").chain(efforts.into_iter().map(|name| (name.clone(), name))).collect();
    let lengths = AnswerLength::ALL.map(|length| (length.as_str().to_owned(), length.label().to_owned()));
    let lengths = default("Default").chain(lengths).collect();
    // A model that can't be chosen any more is shown as the default, which then answers.
    let chosen = model.filter(|name| allowed.iter().any(|choice| choice.name == *name));
    let models = default("Default").chain(allowed.into_iter().map(|choice| (choice.name.0, choice.label))).collect();
    let length = answer_length.map(AnswerLength::as_str).unwrap_or_default();
    view! {
        <TextArea name="instructions" id="settings-instructions" label="Instructions" value=instructions max=MAX_INSTRUCTIONS hint=hint/>
        <div class="choices">
            <Choice name="model" id="settings-model" label="Model" options=models value=chosen.map(|name| name.0).unwrap_or_default()/>
            {has_efforts.then(|| view! { <Choice name="effort" id="settings-effort" label="Reasoning effort" options=efforts value=effort.unwrap_or_default()/> })}
            <Choice name="answer_length" id="settings-length" label="Answer length" options=lengths value=length.to_owned()/>
        </div>
    }
}

//! The settings of a conversation: a popover of the chat's bar. Its forms work without script. In a new conversation the island sends what is
//! entered with the first message; a preset is chosen by a link.

use crate::components::icon::{Draw, Icon};
use crate::components::settings_fields::SettingsFields;
use crate::page_context::page_context;
use crate::view::conversation::AvailableModel;
use domain::{ChatSettings, ConversationId, PresetId};
use leptos::prelude::*;

/// The fields of the form.
const FIELDS: [&str; 4] = ["instructions", "model", "effort", "answer_length"];

/// Data from which the settings of the open conversation are rendered.
#[derive(Clone, Debug)]
pub(super) struct SettingsPanel {
    /// The open conversation; `None` for a new one.
    pub conversation: Option<ConversationId>,
    /// What is set.
    pub settings: ChatSettings,
    /// The viewer's presets with their names.
    pub presets: Vec<(PresetId, String)>,
    /// Models that can be chosen.
    pub models: Vec<AvailableModel>,
    /// Whether the conversation is temporary.
    pub is_temporary: bool,
}

/// Renders the button that opens the settings. Its label states whether the conversation has instructions of its own.
pub(super) fn settings_button(panel: &SettingsPanel) -> impl IntoView + use<> {
    let is_set = !panel.settings.instructions.is_empty() || panel.settings.answer_length.is_some();
    let label = if is_set { "Conversation settings (changed)" } else { "Conversation settings" };
    view! {
        <button type="button" id="settings-button" class="quiet icon-button" popovertarget="settings" aria-label=label title=label
            data-set=is_set><Draw icon=Icon::Sliders/></button>
    }
}

/// The settings. After a rejected form they are a part of the page, so that the errors are visible without script.
#[component]
pub(super) fn Settings(
    /// Data from which the settings are rendered.
    panel: SettingsPanel,
) -> impl IntoView {
    let SettingsPanel { conversation, settings, presets, models, is_temporary } = panel;
    let form = page_context().form;
    let is_rejected = FIELDS.iter().any(|field| form.error(field).is_some());
    let action = conversation.map(|id| format!("/chat/{id}/settings"));
    let is_new = conversation.is_none();
    view! {
        <div id="settings" class="popup chat-settings" popover=(!is_rejected).then_some("auto") role="group" aria-label="Conversation settings">
            <PresetChoice action=action.clone() presets is_temporary/>
            <form id="settings-form" method="post" action=action class="stack">
                <SettingsFields settings models hint="For this conversation only. Sent with every message, so it counts toward your tokens."/>
                <p class="hint" data-slot="new" hidden=!is_new>"Used from the first message."</p>
                <button class="small" data-slot="save" hidden=is_new>"Save"</button>
                <button type="button" class="secondary small" data-slot="close" hidden=!is_new popovertarget="settings" popovertargetaction="hide">"Done"</button>
            </form>
        </div>
    }
}

/// The choice of a preset: copies it to a conversation, or leads to a new conversation that starts with it.
#[component]
fn PresetChoice(
    /// Where the form of an existing conversation is sent; `None` for a new one.
    action: Option<String>,
    /// The viewer's presets with their names.
    presets: Vec<(PresetId, String)>,
    /// Whether a new conversation is temporary.
    is_temporary: bool,
) -> impl IntoView {
    if presets.is_empty() {
        return view! { <p class="hint">"Save settings as a preset under "<a href="/settings/chat">"Settings, Chat"</a>"."</p> }.into_any();
    }
    let options = presets.into_iter().map(|(id, name)| view! { <option value=id.to_string()>{name}</option> });
    let options = options.collect_view();
    let method = if action.is_some() { "post" } else { "get" };
    let keeps_temporary = action.is_none() && is_temporary;
    view! {
        <form id="preset-form" method=method action=action.unwrap_or_else(|| "/chat".to_owned()) class="inline">
            <select name="preset" aria-label="Preset" translate="no">{options}</select>
            {keeps_temporary.then(|| view! { <input type="hidden" name="temporary" value="yes"/> })}
            <button class="secondary">"Use preset"</button>
        </form>
    }
    .into_any()
}

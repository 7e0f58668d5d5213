//! `/settings/chat`: instructions for all conversations, and presets.

use super::{Saved, Tabs};
use crate::api;
use crate::components::field::{Field, FormError, TextArea};
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::components::settings_fields::SettingsFields;
use crate::page_context::page_context;
use crate::view::chat_settings::ChatSettingsView;
use crate::view::conversation::AvailableModel;
use domain::chat_settings::MAX_INSTRUCTIONS;
use domain::{Preset, PresetId};
use leptos::prelude::*;

/// Renders the page.
#[component]
pub fn ChatSettings() -> impl IntoView {
    view! {
        <Frame title="Chat">
            <header class="page-head split"><h1>"Chat"</h1><Tabs/></header>
            <Saved/>
            <FormError/>
            {loaded(api::chat_settings::load(), |view| view! { <Shown view/> })}
        </Frame>
    }
}

#[component]
fn Shown(view: ChatSettingsView) -> impl IntoView {
    let ChatSettingsView { instructions, presets, models } = view;
    let edited: Option<PresetId> = page_context().query("preset").and_then(|id| id.parse().ok());
    let edited = presets.iter().find(|preset| Some(preset.id) == edited).cloned();
    let rows = presets.iter().map(row).collect_view();
    let is_empty = presets.is_empty();
    view! {
        <section class="setting">
            <h2>"Instructions"</h2>
            <form method="post" action="/settings/chat/instructions" class="stack">
                <TextArea name="account_instructions" id="account-instructions" label="Instructions for all conversations" value=instructions
                    max=MAX_INSTRUCTIONS hint="What models should know about you and how they should answer. Sent with every message, so it counts toward your tokens."/>
                <button>"Save instructions"</button>
            </form>
        </section>
        <section class="setting">
            <h2>"Presets"</h2>
            <div class="stack">
                <p>"A preset is a set of instructions, model, reasoning effort and answer length under a name. Choose one in a conversation's settings."</p>
                {is_empty.then(|| view! { <p class="hint">"You have no presets yet."</p> })}
                <ul class="entries">{rows}</ul>
                <PresetForm edited models/>
            </div>
        </section>
    }
}

fn row(preset: &Preset) -> impl IntoView + use<> {
    let Preset { id, name, .. } = preset.clone();
    view! {
        <li>
            <strong class="long">{name.clone()}</strong>
            <div class="row-actions">
                <a class="button secondary small" href=format!("/chat?preset={id}")>"Start chat"<span class="unseen">{format!(" with {name}")}</span></a>
                <a class="button secondary small" href=format!("/settings/chat?preset={id}#preset") aria-label=format!("Edit {name}")>"Edit"</a>
                <form method="post" action=format!("/settings/chat/presets/{id}/delete")>
                    <button class="secondary small" aria-label=format!("Delete {name}")>"Delete"</button>
                </form>
            </div>
        </li>
    }
}

/// The form of a new preset, or of the one that is edited.
#[component]
fn PresetForm(
    /// The preset to edit; `None` for a new one.
    edited: Option<Preset>,
    /// Models that can be chosen.
    models: Vec<AvailableModel>,
) -> impl IntoView {
    let (title, button) =
        if edited.is_some() { ("Edit preset", "Save preset") } else { ("New preset", "Create preset") };
    let cancel = edited.is_some().then(|| view! { <a class="button secondary" href="/settings/chat">"Cancel"</a> });
    let action = edited
        .as_ref()
        .map_or_else(|| "/settings/chat/presets".to_owned(), |preset| format!("/settings/chat/presets/{}", preset.id));
    let (name, settings) = edited.map(|preset| (preset.name, preset.settings)).unwrap_or_default();
    view! {
        <form id="preset" method="post" action=action class="stack">
            <h3>{title}</h3>
            <Field name="name" label="Name" kind="text" autocomplete="off" value=name/>
            <SettingsFields settings models hint="Added to your instructions for all conversations."/>
            <div class="row-actions"><button>{button}</button>{cancel}</div>
        </form>
    }
}

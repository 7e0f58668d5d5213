//! Messages from before the page was rendered.

use crate::components::icon::{Draw, Icon};
use crate::components::markdown::Markdown;
use crate::components::outcome::{self, HistoryNote, Reasoning};
use crate::view::conversation::AvailableModel;
use domain::{Message, Role};
use leptos::prelude::*;

/// A past message.
#[component]
pub fn PastMessage(
    /// The message to render.
    message: Message,
    /// Available models, used to look up display names.
    models: StoredValue<Vec<AvailableModel>>,
    /// Whether it is the last message and can be regenerated.
    is_last: bool,
) -> impl IntoView {
    match message.role {
        Role::User => view! { <UserMessage text=message.text/> }.into_any(),
        Role::Assistant => {
            let note = outcome::note(message.status, &message.text, &message.reasoning);
            let model = message.model.map(|name| {
                let label = |all: &Vec<AvailableModel>| {
                    all.iter().find(|choice| choice.name == name).map(|choice| choice.label.clone())
                };
                models.with_value(label).unwrap_or(name.0)
            });
            let again = is_last.then(|| view! { <button type="button" class="quiet small again" data-again=message.turn_id.to_string()><Draw icon=Icon::Retry/>{outcome::retry_label(message.status)}</button> });
            let reasoning = Some(message.reasoning).filter(|text| !text.trim().is_empty());
            let cost = message.cost.map(|cost| format!(" · {cost}")).unwrap_or_default();
            let used = message.tokens.map(|tokens| format!("{tokens} tokens{cost}"));
            view! {
                <article class="answer" aria-label="Response" data-turn=message.turn_id.to_string()>
                    {message.history_cut.map(|cut| view! { <HistoryNote cut/> })}
                    {reasoning.map(|text| view! { <Reasoning text=Signal::stored(text)/> })}
                    <Markdown text=Signal::stored(message.text)/>
                    {note.map(|note| view! { <p class="note"><Draw icon=Icon::Alert/>{note}</p> })}
                    <p class="byline">{model}{used.map(|used| view! { <span>{used}</span> })}{again}</p>
                </article>
            }
            .into_any()
        }
    }
}

/// A user's message.
#[component]
pub fn UserMessage(
    /// Plain text, shown as typed.
    text: String,
) -> impl IntoView {
    view! { <article class="user-message" aria-label="You"><p>{text}</p></article> }
}

//! The chat, which is the page's only island. Past messages are its children and rendered by the server; the island owns the
//! composer, the meter and turns started since the page was rendered.

use super::composer::Composer;
use super::live::LiveTurn;
use super::state::ChatState;
use crate::browser::{api, clipboard, clock, page};
use crate::components::toast::Toast;
use crate::view::conversation::AvailableModel;
use domain::money::count;
use domain::{ConversationId, ModelName, Quota, TurnId};
use leptos::{prelude::*, task::spawn_local};

const STARTERS: [(&str, &str); 4] = [
    (
        "Explain something",
        "Explain how a sliding window differs from a counter that resets at midnight, in four steps.",
    ),
    ("Compare two things", "Compare renting and buying a bicycle for two years in a table."),
    ("Write some code", "Write a Rust function that splits a text into sentences, with a test."),
    ("Improve my writing", "Make this shorter and clearer: "),
];

/// The chat island.
#[island]
pub fn Chat(
    /// The open conversation; `None` for a new one.
    conversation: Option<ConversationId>,
    /// The viewer's name, shown in the greeting.
    name: String,
    /// The turn that was in progress when the page was rendered, with its model.
    running: Option<(TurnId, ModelName)>,
    /// Available models, the default first.
    models: Vec<AvailableModel>,
    /// The remaining quota; `None` if it can't be loaded.
    quota: Option<Quota>,
    /// Whether the user's time zone isn't known yet (it is still the default, UTC) and should be set from the browser.
    zone_is_unknown: bool,
    /// Past messages, rendered by the server.
    children: Children,
) -> impl IntoView {
    let state = ChatState::new(conversation, quota, &models);
    // Effects run only in the browser, after hydration.
    Effect::new(move || state.start(running.clone()));
    Effect::new(move || {
        let zone = clock::zone();
        if zone_is_unknown && !zone.is_empty() && zone != "UTC" {
            spawn_local(async move { api::time_zone(&zone).await });
        }
    });
    let back_at = RwSignal::new(String::new());
    Effect::new(move || {
        let next = state.quota.get().and_then(|quota| quota.tokens.next_free_ms);
        back_at.set(next.map(clock::time_in).unwrap_or_default());
    });
    let send = Callback::new(move |()| state.send());
    let click = move |event: leptos::ev::MouseEvent| {
        clipboard::copy_code(&event);
        if let Some(turn) = page::turn_to_regenerate(&event) {
            state.regenerate(turn);
        }
    };
    let is_new = conversation.is_none();
    view! {
        <div class="chat">
            <div class="transcript" node_ref=state.transcript tabindex="0" role="region" aria-label="Conversation" on:click=click>
                <div class="column">
                    {children()}
                    {move || (is_new && state.turns.read().is_empty()).then(|| greeting(state, &name))}
                    <For each=move || state.turns.get() key=|turn| turn.id let:turn>
                        {view! { <LiveTurn can_regenerate=state.can_regenerate(turn.id) turn on_retry=move |()| state.send() on_regenerate=move |turn| state.regenerate(turn)/> }.into_any()}
                    </For>
                </div>
            </div>
            <p class="unseen" role="status" aria-live="polite">{move || state.announced.get()}</p>
            <noscript><p class="noscript">"Sending messages requires JavaScript. You can read your conversations without it."</p></noscript>
            {view! {
                <Composer node=state.input models model=state.model effort=state.effort running=Signal::derive(move || state.running.get().is_some())
                    can_send=state.has_text quota=state.quota back_at on_type=move |()| state.typed() on_send=send on_stop=move |()| state.stop()/>
            }
            .into_any()}
            <Toast text=state.toast on_close=move |()| state.close_toast() on_hover=move |on| state.hovered.set(on)/>
        </div>
    }
}

/// Renders the greeting of a new conversation, with what is left of the quota and starter messages.
fn greeting(state: ChatState, name: &str) -> impl IntoView + use<> {
    let starters = STARTERS
        .map(|(label, text)| view! { <li><button type="button" class="secondary" on:click=move |_| state.fill(text)>{label}</button></li> })
        .into_iter()
        .collect_view();
    let allows = state.quota.get().map(|quota| {
        format!(
            "You have {} left today and {} left this minute.",
            count(quota.tokens.remaining, "token", "tokens"),
            count(quota.requests.remaining, "request", "requests"),
        )
    });
    view! {
        <section class="greeting">
            <h2>{if name.is_empty() { "Hello".to_owned() } else { format!("Hello, {name}") }}</h2>
            <p>{allows}</p>
            <ul class="starters">{starters}</ul>
        </section>
    }
}

//! `/chat` and `/chat/{conversation_id}`: a server-rendered page with one island.

mod composer;
mod island;
mod live;
mod refusal;
mod sidebar;
mod state;
mod transcript;

use crate::api;
use crate::components::frame::{ErrorPage, Frame, Unconfirmed};
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::view::conversation::ChatView;
use domain::{ConversationId, Problem};
use island::Chat;
use leptos::prelude::*;
use leptos_meta::Title;
use sidebar::Sidebar;
use transcript::PastMessage;

/// Renders the chat page.
#[component]
pub fn ChatPage() -> impl IntoView {
    match page_context().path.strip_prefix("/chat/").map(str::parse::<ConversationId>) {
        None => loaded(api::conversation::open(None), |view| view! { <Shown view/> }).into_any(),
        Some(Ok(id)) => loaded(api::conversation::open(Some(id)), |view| view! { <Shown view/> }).into_any(),
        Some(Err(_)) => {
            view! { <Frame title="Page not found"><ErrorPage problem=Problem::not_found("conversation")/></Frame> }
                .into_any()
        }
    }
}

/// Renders past messages. The last response has a Regenerate button unless a turn is in progress.
fn past(
    messages: Vec<domain::Message>,
    models: StoredValue<Vec<crate::view::conversation::AvailableModel>>,
    is_idle: bool,
) -> AnyView {
    let last = messages.len().saturating_sub(1);
    let each = |(index, message)| view! { <PastMessage message models is_last=is_idle && index == last/> };
    messages.into_iter().enumerate().map(each).collect_view().into_any()
}

#[component]
fn Shown(view: ChatView) -> impl IntoView {
    let ChatView { conversations, open, messages, running, models, quota } = view;
    let labels = StoredValue::new(models.clone());
    let is_idle = running.is_none();
    let title = open.as_ref().map_or_else(|| "New conversation".to_owned(), |open| open.title.clone());
    let id = open.as_ref().map(|open| open.id);
    let viewer = page_context().viewer;
    let zone_is_unknown = viewer.as_ref().is_some_and(|viewer| viewer.time_zone == "UTC");
    let name = viewer.map(|viewer| viewer.display_name().to_owned()).unwrap_or_default();
    let delete = id.map(|id| {
        view! {
            <details class="confirm">
                <summary class="quiet small" aria-label="Delete conversation"><Draw icon=Icon::Trash/></summary>
                <form method="post" action=format!("/chat/{id}/delete")>
                    <p>"Permanently delete this conversation? Its usage still counts."</p>
                    <button class="danger small">"Delete"</button>
                </form>
            </details>
        }
    });
    view! {
        <Title text=title.clone()/>
        <a class="skip" href="#question">"Skip to the message box"</a>
        <div class="chat-frame">
            {view! { <Sidebar conversations current=id/> }.into_any()}
            <main class="chat-main">
                <header class="chat-bar">
                    <button type="button" class="quiet menu" popovertarget="sidebar" aria-label="Conversations"><Draw icon=Icon::Menu size=20/></button>
                    <h1>{title}</h1>
                    {delete}
                </header>
                {view! { <Unconfirmed/> }.into_any()}
                {view! {
                    <Chat conversation=id name running models quota zone_is_unknown>
                        {past(messages, labels, is_idle)}
                    </Chat>
                }
                .into_any()}
            </main>
        </div>
    }
}

//! `/chat` and `/chat/{conversation_id}`: a server-rendered page. Its one island renders nothing: it works on the elements of this page.

mod attach;
mod catch_up;
mod composer;
mod conversations;
mod cost;
mod edit;
mod events;
mod files;
mod form;
mod greeting;
mod island;
mod live;
mod meter;
mod more;
mod palette;
mod queue;
mod rating;
mod refusal;
mod refused;
mod row_menu;
mod send;
mod settings;
mod settings_form;
mod share;
mod sharing;
mod shortcuts;
mod sidebar;
mod state;
mod templates;
mod temporary;
mod toast;
mod transcript;
mod versions;

pub use conversations::Conversations;
pub use transcript::Messages;

use crate::api;
use crate::components::error_page::ErrorPage;
use crate::components::frame::{Frame, Unconfirmed};
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::components::toast::Toast;
use crate::page_context::page_context;
use crate::view::conversation::ChatView;
use domain::{ConversationId, MessageId, PresetId, Problem};
use form::MessageForm;
use greeting::Greeting;
use island::Chat;
use leptos::prelude::*;
use leptos_meta::Title;
use palette::Palette;
use settings_form::{Settings, SettingsPanel, settings_button};
use share::ShareMenu;
use shortcuts::Shortcuts;
use sidebar::{Sidebar, SidebarSwitch};
use templates::{AgainMenu, Templates};
use temporary::{TemporaryNotice, temporary_switch};
use versions::OtherVersion;

/// Renders the chat page.
#[component]
pub fn ChatPage() -> impl IntoView {
    let message = |name: &str| -> Option<MessageId> { page_context().query(name).and_then(|id| id.parse().ok()) };
    let after = page_context().query("after").and_then(|position| position.parse().ok());
    match page_context().path.strip_prefix("/chat/").map(str::parse::<ConversationId>) {
        None => {
            let preset: Option<PresetId> = page_context().query("preset").and_then(|id| id.parse().ok());
            let is_temporary = page_context().query("temporary").is_some();
            let shown = move |view: ChatView| {
                let view = ChatView { is_temporary, ..view };
                view! { <Shown view/> }
            };
            loaded(api::conversation::open(None, None, None, after, preset), shown).into_any()
        }
        Some(Ok(id)) => {
            let opened = api::conversation::open(Some(id), message("before"), message("message"), after, None);
            loaded(opened, |view| view! { <Shown view/> }).into_any()
        }
        Some(Err(_)) => {
            view! { <Frame title="Page not found"><ErrorPage problem=Problem::not_found("conversation")/></Frame> }
                .into_any()
        }
    }
}

#[component]
fn Shown(
    /// The page's data. Earlier messages are for reading: their page has no message box.
    view: ChatView,
) -> impl IntoView {
    let is_earlier = view.is_earlier;
    let id = view.open.as_ref().map(|open| open.id);
    let title = view.open.as_ref().map_or_else(|| "New conversation".to_owned(), |open| open.title.clone());
    let conversations = view.conversations.clone();
    let is_temporary = view.is_temporary;
    let has_demo = view.models.iter().any(|choice| choice.is_demo);
    let panel = SettingsPanel {
        conversation: id,
        settings: view.settings.clone(),
        presets: view.presets.clone(),
        models: view.models.clone(),
        is_temporary,
    };
    view! {
        <Title text=title.clone()/>
        <a class="skip" href=if is_earlier { "#transcript" } else { "#question" }>{if is_earlier { "Skip to the messages" } else { "Skip to the message box" }}</a>
        <div class="chat-frame" data-sidebar-hidden=page_context().hides_sidebar>
            {view! { <Sidebar conversations current=id/> }.into_any()}
            <main class="chat-main">
                <Bar title panel=panel.clone()/>
                {view! { <Settings panel/> }.into_any()}
                {is_temporary.then(|| view! { <TemporaryNotice conversation=id/> })}
                {view! { <Unconfirmed has_demo/> }.into_any()}
                {id.zip(view.branch).map(|(conversation, leaf)| view! { <OtherVersion conversation leaf/> })}
                {if is_earlier { view! { <Earlier view/> }.into_any() } else { view! { <Latest view/> }.into_any() }}
                <Toast/>
                {view! { <Palette/> }.into_any()}
                <Chat/>
            </main>
        </div>
    }
}

/// The bar above the conversation. In a new conversation the island shows the Delete button with the first message.
#[component]
fn Bar(
    /// The conversation's title.
    title: String,
    /// The settings of the open conversation.
    panel: SettingsPanel,
) -> impl IntoView {
    let (conversation, is_temporary) = (panel.conversation, panel.is_temporary);
    let switch = conversation.is_none().then(|| temporary_switch(is_temporary));
    let settings_button = settings_button(&panel);
    let action = conversation.map(|id| format!("/chat/{id}/delete"));
    view! {
        <header class="chat-bar">
            <SidebarSwitch hide=false/>
            <button type="button" class="quiet menu" popovertarget="sidebar" aria-label="Conversations"><Draw icon=Icon::Menu size=20/></button>
            <h1 id="title">{title}</h1>
            {switch}
            {settings_button}
            <button type="button" id="show-shortcuts" class="quiet icon-button" aria-label="Keyboard shortcuts" title="Keyboard shortcuts"><Draw icon=Icon::Keyboard/></button>
            <ShareMenu conversation is_temporary/>
            <button type="button" id="delete-button" class="quiet icon-button" popovertarget="delete" hidden=conversation.is_none()
                aria-label="Delete conversation" title="Delete conversation"><Draw icon=Icon::Trash/></button>
            <div id="delete" class="popup" popover="auto" role="group" aria-label="Delete conversation">
                <form id="delete-form" method="post" action=action>
                    <p>"Delete this conversation? You can undo it for 10 seconds. Its usage still counts."</p>
                    <button class="danger small">"Delete"</button>
                </form>
            </div>
        </header>
    }
}

/// The latest messages with the message box, and everything that the island works with.
#[component]
fn Latest(
    /// The page's data.
    view: ChatView,
) -> impl IntoView {
    let ChatView {
        open,
        messages,
        earlier,
        branch,
        running,
        models,
        quota,
        now_ms,
        writes_titles,
        settings,
        is_temporary,
        ..
    } = view;
    let viewer = page_context().viewer;
    let zone_is_unknown = viewer.as_ref().is_some_and(|viewer| viewer.time_zone == "UTC");
    let running_model = running.as_ref().map(|(_, name)| {
        let label = models.iter().find(|choice| choice.name == *name).map(|choice| choice.label.clone());
        label.unwrap_or_else(|| name.0.clone())
    });
    let greeting = open.is_none().then(|| view! { <Greeting quota=quota.clone()/> });
    let conversation = open.map(|open| open.id);
    let past =
        conversation.map(|conversation| view! { <Messages conversation messages earlier models=models.clone()/> });
    view! {
        <div id="chat" class="chat" data-conversation=conversation.map(|id| id.to_string()) data-branch=branch.map(|leaf| leaf.to_string())
            data-account=viewer.map(|viewer| viewer.user_id.to_string())
            data-running=running.map(|(turn, _)| turn.to_string()) data-running-model=running_model
            data-now-ms=now_ms.to_string() data-zone-unknown=zone_is_unknown data-writes-titles=writes_titles data-temporary=is_temporary>
            <div id="transcript" class="transcript" tabindex="0" role="region" aria-label="Conversation">
                <div class="column">
                    <div id="messages" class="turns">{past}</div>
                    {greeting}
                    <div id="turns" class="turns"></div>
                    <div id="refused" class="turns"></div>
                </div>
            </div>
            <div class="dock">
                <button type="button" id="jump" class="secondary icon-button" aria-label="Jump to latest" title="Jump to latest" hidden=true><Draw icon=Icon::ArrowDown/></button>
                <p id="status" class="unseen" role="status" aria-live="polite" translate="no"></p>
                <p id="connection" class="connection" role="status" translate="no" hidden=true>
                    <span data-slot="reconnecting">"Reconnecting…"</span>
                    <span data-slot="offline" hidden=true>"You are offline. The chat continues when you are back online."</span>
                </p>
                <ol id="queue" class="queue" aria-label="Messages waiting to be sent" hidden=true></ol>
                <noscript><p class="noscript">"Sending messages requires JavaScript. You can read your conversations without it."</p></noscript>
                {view! { <MessageForm models=models.clone() settings quota/> }.into_any()}
            </div>
            <Shortcuts/>
            <AgainMenu models/>
            {view! { <Templates conversation/> }.into_any()}
        </div>
    }
}

/// Earlier messages of a conversation, for reading. The way to them without JavaScript, with which they are added to the page.
#[component]
fn Earlier(
    /// The page's data.
    view: ChatView,
) -> impl IntoView {
    let ChatView { open, messages, earlier, branch, models, .. } = view;
    open.map(|open| {
        let of_branch = branch.map(|leaf| format!("?message={leaf}")).unwrap_or_default();
        let latest = format!("/chat/{}{of_branch}", open.id);
        view! {
            <div class="chat">
                <div id="transcript" class="transcript" tabindex="0" role="region" aria-label="Conversation">
                    <div class="column">
                        <div id="messages" class="turns reading"><Messages conversation=open.id messages earlier models/></div>
                        <p class="earlier"><a href=latest>"Latest messages"</a></p>
                    </div>
                </div>
            </div>
        }
    })
}

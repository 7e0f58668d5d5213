//! `/chat/{conversation_id}/edit`: the options of a conversation as a page, for browsers without JavaScript.

use crate::api;
use crate::components::field::Field;
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::view::conversation_list::EditableConversation;
use domain::{ConversationId, Problem};
use leptos::prelude::*;

/// Renders the page.
#[component]
pub fn EditConversation() -> impl IntoView {
    let path = page_context().path;
    let id = path.strip_prefix("/chat/").and_then(|rest| rest.strip_suffix("/edit")).map(str::parse::<ConversationId>);
    view! {
        <Frame title="Conversation">
            {match id {
                Some(Ok(id)) => loaded(api::conversation::editable(id), |view| view! { <Shown view/> }).into_any(),
                _ => view! { <crate::components::error_page::ErrorPage problem=Problem::not_found("conversation")/> }.into_any(),
            }}
        </Frame>
    }
}

#[component]
fn Shown(
    /// The conversation.
    view: EditableConversation,
) -> impl IntoView {
    let EditableConversation { conversation, is_pinned, is_archived } = view;
    let id = conversation.id;
    let error = page_context().form.error("").map(|sentence| view! { <p class="error" role="alert">{sentence}</p> });
    view! {
        <header class="page-head"><h1>{conversation.title.clone()}</h1></header>
        {error}
        <form method="post" action=format!("/chat/{id}/rename") class="stack edit-title">
            <Field name="title" label="Title" kind="text" autocomplete="off" value=conversation.title/>
            <div class="row-actions"><button>"Save title"</button></div>
        </form>
        <div class="edit-actions">
            <Switch action=format!("/chat/{id}/pin") is_on=is_pinned label=if is_pinned { "Unpin" } else { "Pin" }/>
            <Switch action=format!("/chat/{id}/archive") is_on=is_archived label=if is_archived { "Unarchive" } else { "Archive" }/>
            <form method="post" action=format!("/chat/{id}/delete")><button class="danger small">"Delete"</button></form>
        </div>
        <p><a href=format!("/chat/{id}")>"Back to the conversation"</a></p>
    }
}

/// A button that turns something on or off.
#[component]
fn Switch(
    /// Where the form is sent.
    action: String,
    /// Whether it is on.
    is_on: bool,
    /// The button's label.
    label: &'static str,
) -> impl IntoView {
    view! {
        <form method="post" action=action>
            <input type="hidden" name="on" value=(!is_on).to_string()/>
            <button class="secondary small">{label}</button>
        </form>
    }
}

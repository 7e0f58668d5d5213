//! A notice at the bottom of the page: a limit that is nearly reached, or what was just done, with a way to undo it.

use super::icon::{Draw, Icon};
use crate::page_context::page_context;
use domain::ConversationId;
use leptos::prelude::*;

/// The place of the toast, of which there is one at a time, announced politely to screen readers. The island fills, shows and hides it.
#[component]
pub fn Toast() -> impl IntoView {
    view! {
        <div class="toast-region" role="status" aria-live="polite" translate="no">
            <div id="toast" class="toast" hidden=true>
                <Draw icon=Icon::Alert/>
                <span data-slot="text"></span>
                <button type="button" class="secondary small" data-slot="action" hidden=true></button>
                <button type="button" class="quiet small" data-slot="close" aria-label="Close"><Draw icon=Icon::Close/></button>
            </div>
            <Deleted/>
        </div>
    }
}

/// Confirms the deletion of the conversation that the query parameter `deleted` names, with a form that restores it. Renders nothing without
/// it. The island hides it after a while.
#[component]
pub fn Deleted() -> impl IntoView {
    let deleted = page_context().query("deleted").and_then(|id| id.parse::<ConversationId>().ok());
    deleted.map(|id| {
        view! {
            <div id="deleted" class="toast">
                <Draw icon=Icon::Trash/>
                <span data-slot="text">"Conversation deleted."</span>
                <form method="post" action=format!("/chat/{id}/restore")><button class="secondary small">"Undo"</button></form>
            </div>
        }
    })
}

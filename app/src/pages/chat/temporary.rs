//! Temporary conversations: the switch of a new one, and the note about it.

use crate::components::icon::{Draw, Icon};
use domain::ConversationId;
use leptos::prelude::*;

/// Renders the switch of a new conversation, a link, so that it works without script. The draft is kept.
pub(super) fn temporary_switch(is_temporary: bool) -> impl IntoView {
    let (href, label) = match is_temporary {
        true => ("/chat", "Turn off temporary chat"),
        false => ("/chat?temporary=yes", "Temporary chat"),
    };
    view! { <a id="temporary-switch" class="button quiet icon-button" href=href aria-label=label title=label data-set=is_temporary><Draw icon=Icon::Hourglass/></a> }
}

/// Renders a note that the conversation isn't kept, with the button that ends it. In a new conversation the island shows the button with the
/// first message.
#[component]
pub(super) fn TemporaryNotice(
    /// The open conversation; `None` for a new one.
    conversation: Option<ConversationId>,
) -> impl IntoView {
    let action = conversation.map(|id| format!("/chat/{id}/end"));
    view! {
        <div class="temporary" role="note">
            <Draw icon=Icon::Hourglass/>
            <p>"Temporary chat: not in your list, and deleted a day after its last message. Its usage still counts."</p>
            <form id="end-form" method="post" action=action hidden=conversation.is_none()><button class="secondary small">"End chat"</button></form>
        </div>
    }
}

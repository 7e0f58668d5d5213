//! Moves between the versions of a question, or the responses to one: a form, so it works without JavaScript.

use crate::components::icon::{Draw, Icon};
use domain::{ConversationId, MessageId};
use leptos::prelude::*;

/// The buttons to the previous and the next version of a message, with its number. Nothing if there is only one.
#[component]
pub(super) fn Versions(
    /// The conversation; `None` in a new one.
    conversation: Option<ConversationId>,
    /// The message that is shown; `None` for the template of live messages, which is hidden until there are several versions.
    shown: Option<MessageId>,
    /// The message and its other versions, oldest first.
    versions: Vec<MessageId>,
) -> impl IntoView {
    let is_template = shown.is_none();
    if !is_template && versions.len() < 2 {
        return None;
    }
    let action = conversation.map(|id| format!("/chat/{id}/branch"));
    let index = versions.iter().position(|id| Some(*id) == shown).unwrap_or_default();
    let (number, count) = (index + 1, versions.len());
    let id_at = |index: Option<usize>| index.and_then(|index| versions.get(index)).map(ToString::to_string);
    let (previous, next) = (id_at(index.checked_sub(1)), id_at(index.checked_add(1)));
    Some(view! {
        <form method="post" action=action data-slot="versions" hidden=is_template>
            <div class="versions" role="group" aria-label="Versions">
                <button class="quiet icon-button narrow" name="message" value=previous.clone() disabled=previous.is_none()
                    data-slot="previous" aria-label="Previous version" title="Previous version"><Draw icon=Icon::ChevronLeft/></button>
                <span class="unseen" data-slot="version-name">{format!("Version {number} of {count}")}</span>
                <span aria-hidden="true" translate="no" data-slot="version-number">{format!("{number}/{count}")}</span>
                <button class="quiet icon-button narrow" name="message" value=next.clone() disabled=next.is_none()
                    data-slot="next" aria-label="Next version" title="Next version"><Draw icon=Icon::ChevronRight/></button>
            </div>
        </form>
    })
}

/// Shows a notice that the page shows a path that isn't the visible one, to which for example a search has led, and switches to it.
#[component]
pub(super) fn OtherVersion(
    /// The conversation.
    conversation: ConversationId,
    /// The end of the path that is shown.
    leaf: MessageId,
) -> impl IntoView {
    view! {
        <div id="other-version" class="other-version" role="note">
            <p>"This is another version of the conversation. Your next message continues it. Until then, sharing and downloads use the selected version."</p>
            <form method="post" action=format!("/chat/{conversation}/branch")>
                <input type="hidden" name="message" value=leaf.to_string()/>
                <button class="secondary small">"Switch to this version"</button>
            </form>
        </div>
    }
}

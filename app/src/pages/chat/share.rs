//! The Share button above a conversation: links to a copy of it, and downloads. Works without JavaScript, where a created link is shown on
//! `/settings/shares`.

use crate::components::icon::{Draw, Icon};
use domain::ConversationId;
use leptos::prelude::*;

/// The button with its popup. In a new conversation the island shows it with the first message.
#[component]
pub(super) fn ShareMenu(
    /// The open conversation; `None` for a new one.
    conversation: Option<ConversationId>,
    /// Whether it is temporary. Then it can only be downloaded.
    is_temporary: bool,
) -> impl IntoView {
    let path = |end: &str| conversation.map(|id| format!("/chat/{id}/{end}"));
    // A new conversation has no files to download; its button is hidden until it has an id.
    let download = |format: &str| path(&format!("export?format={format}")).unwrap_or_else(|| "/chat".to_owned());
    view! {
        <button type="button" id="share-button" class="quiet icon-button" popovertarget="share" hidden=conversation.is_none()
            aria-label="Share or download conversation" title="Share or download conversation"><Draw icon=Icon::Share/></button>
        <div id="share" class="popup" popover="auto" role="group" aria-label="Share or download conversation">
            {(!is_temporary).then(|| view! { <Links action=path("share")/> })}
            <div class="downloads">
                <a id="export-md" href=download("md") download>"Download as Markdown"</a>
                <a id="export-json" href=download("json") download>"Download as JSON"</a>
                <a href="/settings/shares">"Shared links"</a>
            </div>
        </div>
    }
}

/// The form that creates a link, and the link that was created.
#[component]
fn Links(
    /// Where the form is sent; `None` in a new conversation.
    action: Option<String>,
) -> impl IntoView {
    view! {
        <form id="share-form" method="post" action=action>
            <p>"Anyone with the link can read a copy of this conversation as it is now. Your account, files and reasoning aren't shown."</p>
            <div class="field">
                <label for="share-expires">"Link expires"</label>
                <select id="share-expires" name="expires">
                    <option value="1">"After 1 day"</option>
                    <option value="7" selected>"After 7 days"</option>
                    <option value="30">"After 30 days"</option>
                    <option value="never">"Never"</option>
                </select>
            </div>
            <button class="small">"Create link"</button>
        </form>
        <p id="share-error" class="error" role="alert" hidden=true></p>
        <div id="share-result" class="created" hidden=true>
            <div class="field">
                <label for="share-link">"Link to the copy"</label>
                <input id="share-link" type="text" readonly dir="ltr"/>
                <p class="hint">"Copy the link now: it isn't shown again."</p>
            </div>
            <div class="choices">
                <button type="button" id="share-copy" class="small">"Copy link"</button>
                <button type="button" id="share-revoke" class="secondary small">"Revoke"</button>
                <button type="button" id="share-again" class="quiet small">"New link"</button>
            </div>
        </div>
    }
}

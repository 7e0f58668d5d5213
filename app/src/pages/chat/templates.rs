//! Elements that the island clones: messages that are sent or arrive while the page is open. They equal the transcript's, so that a
//! reload changes nothing.

use super::files::FileTemplates;
use super::transcript::{AnswerFoot, QuestionFoot};
use crate::components::icon::{Draw, Icon};
use crate::components::outcome::NoteTemplates;
use crate::components::refusal_card::RefusalCard;
use crate::view::conversation::AvailableModel;
use domain::{ConversationId, MessageStatus};
use leptos::prelude::*;

/// All templates.
#[component]
pub(super) fn Templates(
    /// The open conversation; `None` for a new one.
    conversation: Option<ConversationId>,
) -> impl IntoView {
    view! {
        <template id="user-message">
            <article class="user-message" aria-label="You">
                <div class="sent-files" data-slot="files" hidden=true></div>
                <div class="message plain" data-slot="message"></div>
                <QuestionFoot place=(conversation, None, Vec::new())/>
            </article>
        </template>
        <FileTemplates/>
        <template id="live-turn"><LiveTurn conversation/></template>
        <template id="edit-form">
            <form class="edit">
                <div class="grown"><textarea rows="2" dir="auto" aria-label="Edit message" data-slot="text"></textarea></div>
                <div class="edit-foot">
                    <button type="button" class="secondary small" data-edit-cancel=true>"Cancel"</button>
                    <button type="submit" class="small" data-slot="send">"Send"</button>
                </div>
            </form>
        </template>
        <template id="notes"><NoteTemplates/></template>
        <template id="refusal-card"><RefusalCard/></template>
        <template id="comment-form">
            <form class="comment-form">
                <label>
                    <span class="unseen">"Comment on this response"</span>
                    <textarea data-slot="comment" rows="2" maxlength="2000" dir="auto" placeholder="What was good or bad about it? (optional)"></textarea>
                </label>
                <p class="hint">"The operator of this site reads your comment with your rating."</p>
                <button class="small">"Send comment"</button>
                <button type="button" class="quiet small" data-slot="skip">"Skip"</button>
            </form>
        </template>
        <template id="queued-message">
            <li class="queued">
                <Draw icon=Icon::Clock/><span data-slot="text"></span>
                <button type="button" class="quiet icon-button" data-slot="remove" aria-label="Remove from the queue"><Draw icon=Icon::Close/></button>
            </li>
        </template>
    }
}

/// A response in progress. Parts that may stay empty are hidden.
#[component]
fn LiveTurn(
    /// The open conversation; `None` for a new one.
    conversation: Option<ConversationId>,
) -> impl IntoView {
    view! {
        <article class="answer live" aria-label="Response" aria-busy="true" data-turn="">
            <div data-slot="history" hidden=true></div>
            <p class="note" data-slot="fallback" hidden=true translate="no"><Draw icon=Icon::Alert/><span data-slot="fallback-text"></span></p>
            <details class="reasoning" data-slot="reasoning" hidden=true>
                <summary>"Reasoning"</summary><p dir="auto" data-slot="reasoning-text"></p>
            </details>
            <div class="markdown" data-slot="markdown"></div>
            <p class="thinking" data-slot="thinking" aria-hidden="true"><span class="caret"></span></p>
            <div data-slot="note" hidden=true></div>
            <AnswerFoot status=MessageStatus::Finished model=String::new() used=String::new() is_good=None place=(conversation, None, Vec::new()) template=true/>
        </article>
    }
}

/// The menu of models to regenerate a response with: one for the page, opened by the button below the last response. It is a popover, so
/// Escape and a click elsewhere close it without script.
#[component]
pub(super) fn AgainMenu(
    /// Available models. Those outside of the viewer's plan are left out.
    models: Vec<AvailableModel>,
) -> impl IntoView {
    let buttons = models
        .into_iter()
        .filter(|choice| choice.allowed)
        .map(|choice| view! { <button type="button" class="quiet" data-again-model=choice.name.0>{choice.label}</button> })
        .collect_view();
    view! {
        <div id="again-models" class="menu-list" popover="auto" role="group" aria-label="Regenerate with another model" translate="no">{buttons}</div>
    }
}

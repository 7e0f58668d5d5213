//! Messages from before the page was rendered, and the parts that they share with live ones.

use super::files::SentFiles;
use super::versions::Versions;
use crate::components::icon::{Draw, Icon};
use crate::components::outcome::{self, HistoryNote, REGENERATE, Reasoning, StatusNote};
use crate::view::conversation::{AvailableModel, MessageView};
use domain::{ConversationId, MessageId, MessageStatus, ModelName, Role};
use leptos::prelude::*;

/// A part of a conversation's messages, oldest first, with a link to earlier ones. It is also the whole body of
/// `GET /chat/{conversation_id}/messages`.
#[component]
pub fn Messages(
    /// The conversation.
    conversation: ConversationId,
    /// The messages to render.
    messages: Vec<MessageView>,
    /// The oldest message that is rendered, if there are earlier ones.
    earlier: Option<MessageId>,
    /// Available models, used to look up display names.
    models: Vec<AvailableModel>,
) -> impl IntoView {
    let earlier = earlier.map(|before| {
        let (page, fragment) =
            (format!("/chat/{conversation}?before={before}"), format!("/chat/{conversation}/messages?before={before}"));
        view! {
            <p id="earlier" class="earlier">
                <a href=page data-fragment=fragment>"Earlier messages"</a>
                <span data-slot="failed" role="alert" hidden=true>"Loading failed. Try again in a moment."</span>
            </p>
        }
    });
    let each = |shown| past_message(shown, &models);
    view! { {earlier} {messages.into_iter().map(each).collect_view()} }
}

/// Renders a message. Those of the user carry their text and the message before them, so that they can be edited.
fn past_message(shown: MessageView, models: &[AvailableModel]) -> AnyView {
    let MessageView { message, parent_id, versions, html, files, is_good, is_imported } = shown;
    let (anchor, place) = (format!("m-{}", message.id), (Some(message.conversation_id), Some(message.id), versions));
    if message.role == Role::User {
        return view! {
            <article id=anchor class="user-message" aria-label="You" data-source=message.text data-parent=parent_id.map(|id| id.to_string())>
                <SentFiles files/>
                <div class="message" inner_html=html></div>
                <QuestionFoot place/>
            </article>
        }
        .into_any();
    }
    let status = message.status;
    let note = outcome::note(status, &message.text, &message.reasoning);
    let reasoning = Some(message.reasoning).filter(|text| !text.trim().is_empty());
    let cost = message.cost.map(|cost| format!(" · {cost}")).unwrap_or_default();
    let used = message.tokens.map(|tokens| format!("{tokens} tokens{cost}")).unwrap_or_default();
    let model = message.model.map(|name| label(models, &name)).unwrap_or_default();
    view! {
        <article id=anchor class="answer" aria-label="Response" data-turn=message.turn_id.to_string()>
            {message.history_cut.map(|cut| view! { <HistoryNote cut/> })}
            {reasoning.map(|text| view! { <Reasoning text/> })}
            <div class="markdown" inner_html=html></div>
            {note.map(|sentence| view! { <StatusNote status sentence/> })}
            <AnswerFoot status model used is_good place is_rated=!is_imported/>
        </article>
    }
    .into_any()
}

/// Returns a model's display name, or its API name if it is unavailable.
fn label(models: &[AvailableModel], name: &ModelName) -> String {
    models.iter().find(|choice| choice.name == *name).map_or_else(|| name.0.clone(), |choice| choice.label.clone())
}

/// A message's place in the tree: the conversation, the message, and its versions. Without a message it is the template of live messages.
pub(super) type TreePosition = (Option<ConversationId>, Option<MessageId>, Vec<MessageId>);

/// The row below a user's message: its versions, and the buttons that copy and edit it. The style sheet hides the latter while a turn is in
/// progress.
#[component]
pub(super) fn QuestionFoot(
    /// The message's place in the tree.
    place: TreePosition,
) -> impl IntoView {
    let (conversation, shown, versions) = place;
    view! {
        <div class="question-foot">
            <Versions conversation shown versions/>
            <button type="button" class="quiet icon-button" data-copy-question=true aria-label="Copy message" title="Copy message">
                <Draw icon=Icon::Copy/><span class="when-done"><Draw icon=Icon::Check/></span>
            </button>
            <button type="button" class="quiet icon-button" data-edit=true aria-label="Edit message" title="Edit message"><Draw icon=Icon::Pencil/></button>
        </div>
    }
}

/// The row below a response: its versions, its actions, the model and what it used. The style sheet hides the buttons that request another response
/// while a turn is in progress.
#[component]
pub(super) fn AnswerFoot(
    /// How the response ended.
    status: MessageStatus,
    /// Display name of the model.
    model: String,
    /// Tokens used and, if shown, the cost, formatted.
    used: String,
    /// The user's rating; `None` if there is none.
    is_good: Option<bool>,
    /// The response's place in the tree.
    place: TreePosition,
    /// Whether it is the template for live responses, which is hidden until they end.
    #[prop(optional)]
    template: bool,
    /// Whether it can be rated.
    #[prop(default = true)]
    is_rated: bool,
) -> impl IntoView {
    let retry = outcome::retry_label(status);
    let (conversation, shown, versions) = place;
    let pressed = |good: bool| (is_good == Some(good)).to_string();
    view! {
        <div class="answer-foot" class:retry=retry != REGENERATE data-slot=template.then_some("foot") hidden=template>
            <Versions conversation shown versions/>
            <div class="actions" role="group" aria-label="Response actions">
                <button type="button" class="quiet icon-button" data-copy-answer=true aria-label="Copy response" title="Copy response">
                    <Draw icon=Icon::Copy/><span class="when-done"><Draw icon=Icon::Check/></span>
                </button>
                <button type="button" class="quiet icon-button again" data-again=true aria-label=retry title=retry>
                    <Draw icon=Icon::Retry/><span class="label">"Try again"</span>
                </button>
                <button type="button" class="quiet icon-button" data-again-with=true popovertarget="again-models"
                    aria-label="Regenerate with another model" title="Regenerate with another model"><Draw icon=Icon::ChevronDown/></button>
                {is_rated.then(|| view! {
                    <button type="button" class="quiet icon-button" data-good=true aria-pressed=pressed(true) aria-label="Good response" title="Good response">
                        <Draw icon=Icon::ThumbsUp/>
                    </button>
                    <button type="button" class="quiet icon-button" data-bad=true aria-pressed=pressed(false) aria-label="Bad response" title="Bad response">
                        <Draw icon=Icon::ThumbsDown/>
                    </button>
                })}
            </div>
            <p class="byline"><span data-slot="model" translate="no">{model}</span><span class="used" data-slot="used" translate="no">{used}</span></p>
        </div>
    }
}

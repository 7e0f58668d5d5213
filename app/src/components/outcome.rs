//! Texts about how a response ended. The transcript shows them, and the live chat takes them from the page's templates, so that a
//! reload changes nothing.

use super::icon::{Draw, Icon};
use domain::problem::TOOL_CALL;
use domain::{HistoryCut, MessageStatus};
use leptos::prelude::*;

/// The label of the button that requests another response to a message that was answered.
pub const REGENERATE: &str = "Regenerate";

/// Returns the note below a response; `None` if it is complete.
#[must_use]
pub fn note(status: MessageStatus, text: &str, reasoning: &str) -> Option<&'static str> {
    let is_reasoning_only = text.trim().is_empty() && !reasoning.trim().is_empty();
    match status {
        MessageStatus::Finished => None,
        MessageStatus::Stopped => Some("Stopped"),
        MessageStatus::Truncated if is_reasoning_only => Some(
            "The model used up the output limit while reasoning. Ask for a shorter answer, or choose a model or plan with a higher limit.",
        ),
        MessageStatus::Truncated => Some("Response cut off at the length limit"),
        MessageStatus::Refused => Some(
            "The model declined to answer. Rephrase your message; this exchange isn't sent along with the next one.",
        ),
        MessageStatus::Filtered => Some(
            "The provider's content filter withheld this response. Rephrase your message; this exchange isn't sent along with the next one.",
        ),
        MessageStatus::ToolCall => Some(TOOL_CALL),
        MessageStatus::Failed => Some("Response interrupted"),
    }
}

/// Returns the label of the button that requests another response to the same message, possibly from another model.
#[must_use]
pub fn retry_label(status: MessageStatus) -> &'static str {
    match status {
        MessageStatus::Finished | MessageStatus::Stopped | MessageStatus::Truncated => REGENERATE,
        MessageStatus::Refused | MessageStatus::Filtered | MessageStatus::ToolCall | MessageStatus::Failed => {
            "Try again"
        }
    }
}

/// A small note below a response that is incomplete.
#[component]
pub fn StatusNote(
    /// How the response ended.
    status: MessageStatus,
    /// The sentence, as [`note`] returns it.
    sentence: &'static str,
    /// For the page's templates: the name by which the live chat finds this note.
    #[prop(optional)]
    template: Option<&'static str>,
) -> impl IntoView {
    let broke = matches!(status, MessageStatus::ToolCall | MessageStatus::Failed);
    let icon = match status {
        MessageStatus::Stopped => Icon::Square,
        _ if broke => Icon::Danger,
        _ => Icon::Alert,
    };
    let retry = template.map(|_| retry_label(status));
    // Only a failure that happens while the user watches interrupts a screen reader.
    let role = (template.is_some() && broke).then_some("alert");
    let details = (template.is_some() && broke).then(|| view! { <span class="details" data-slot="details"></span> });
    view! {
        <p class="note" class:broke=broke class:stopped=status == MessageStatus::Stopped role=role translate="no" data-status=template data-retry=retry>
            <Draw icon/><span data-slot="sentence">{sentence}</span>{details}
        </p>
    }
}

/// All notes, for the live chat to copy from.
#[component]
pub fn NoteTemplates() -> impl IntoView {
    // A response that used up its limit before its first word has a note of its own.
    let of = |status: MessageStatus, reasoning: &str, template: &'static str| {
        let text = if reasoning.is_empty() { "text" } else { "" };
        note(status, text, reasoning).map(|sentence| view! { <StatusNote status sentence template/> })
    };
    let notes = MessageStatus::ALL.into_iter().map(|status| of(status, "", status.as_str())).collect_view();
    view! {
        {notes}
        {of(MessageStatus::Truncated, "reasoning", "truncated-reasoning")}
        <HistoryNote cut=HistoryCut::Summarized/>
        <HistoryNote cut=HistoryCut::Dropped/>
    }
}

/// A note above a response: whether the oldest messages of a conversation that no longer fits its model were summarized or left out.
#[component]
pub fn HistoryNote(
    /// Whether they were summarized or left out.
    cut: HistoryCut,
) -> impl IntoView {
    let sentence = match cut {
        HistoryCut::Summarized => "Earlier messages no longer fit and were summarized for the model.",
        HistoryCut::Dropped => "Earlier messages no longer fit and were left out.",
    };
    view! { <p class="note history" translate="no" data-history=cut.as_str()><Draw icon=Icon::Clock/><span>{sentence}</span></p> }
}

/// A model's reasoning, folded.
#[component]
pub fn Reasoning(
    /// Plain text.
    text: String,
) -> impl IntoView {
    view! { <details class="reasoning"><summary>"Reasoning"</summary><p dir="auto">{text}</p></details> }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Outcome;

    #[test]
    fn every_incomplete_response_has_a_note_of_its_own() {
        let notes = MessageStatus::ALL.into_iter().filter_map(|status| note(status, "text", ""));
        let distinct: std::collections::BTreeSet<_> = notes.collect();
        assert_eq!(distinct.len(), MessageStatus::ALL.len() - 1, "all but that of a complete response");
    }

    /// Field note 60: the note of a response without text states what to do if the model only reasoned.
    #[test]
    fn reasoning_that_used_up_the_limit_is_explained() {
        let of = |text, reasoning| note(MessageStatus::Truncated, text, reasoning).unwrap();
        assert!(of(" \n", "First, add.").contains("while reasoning"));
        assert_eq!([of("4", "First, add."), of("", "")], ["Response cut off at the length limit"; 2]);
    }

    #[test]
    fn a_live_response_and_its_message_have_the_same_status() {
        for outcome in [Outcome::Finished, Outcome::Stopped, Outcome::Truncated, Outcome::Refused, Outcome::Filtered] {
            assert_eq!(MessageStatus::from(outcome).as_str(), outcome.as_str());
        }
    }
}

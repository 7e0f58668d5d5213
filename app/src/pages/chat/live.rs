//! Turns that started after the page was rendered.

use super::transcript::UserMessage;
use crate::browser::clock;
use crate::components::duration::wait;
use crate::components::icon::{Draw, Icon};
use crate::components::markdown::Markdown;
use crate::components::outcome::{self, HistoryNote, Reasoning};
use crate::components::refusal_card::RefusalCard;
use domain::money::count;
use domain::{HistoryCut, MessageStatus, Outcome, Problem, TurnEvent, TurnId};
use leptos::prelude::*;

/// The state of a turn on screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TurnState {
    /// Sent; no event has arrived yet.
    Waiting,
    /// The response is streaming.
    Running,
    /// The response has ended.
    Ended {
        /// How it ended.
        outcome: Outcome,
        /// Tokens used and, if shown, the cost, formatted.
        used: String,
    },
    /// It failed after it had started.
    Failed(Problem),
    /// It was refused before it started.
    Refused(Problem),
}

/// A turn on screen. Its signals are reference-counted because turns are created in event handlers, outside of a reactive owner.
#[derive(Clone)]
pub(super) struct TurnView {
    /// The turn's id.
    pub id: TurnId,
    /// The user's message; empty if the message is already in the server-rendered transcript.
    pub question: String,
    /// Display name of the model that answers.
    pub model: ArcRwSignal<String>,
    /// Display name of the requested model, if a fallback answers instead of it.
    pub fallback_for: ArcRwSignal<Option<String>>,
    /// What was left out of the conversation that the model reads.
    pub history_cut: ArcRwSignal<Option<HistoryCut>>,
    /// The turn whose response this one supersedes as soon as it starts.
    pub replaces: Option<TurnId>,
    /// Whether the user's message is already shown above, so that it isn't repeated.
    pub hides_user_message: ArcRwSignal<bool>,
    /// Response received so far, in Markdown.
    pub answer: ArcRwSignal<String>,
    /// Reasoning received so far, in plain text.
    pub reasoning: ArcRwSignal<String>,
    /// Current state.
    pub state: ArcRwSignal<TurnState>,
    /// Remaining wait in milliseconds after a refusal; `None` if there is none.
    pub left_ms: ArcRwSignal<Option<u64>>,
}

impl TurnView {
    pub fn new(id: TurnId, question: String, model: String) -> Self {
        Self {
            id,
            question,
            model: ArcRwSignal::new(model),
            fallback_for: ArcRwSignal::new(None),
            history_cut: ArcRwSignal::new(None),
            replaces: None,
            hides_user_message: ArcRwSignal::new(false),
            answer: ArcRwSignal::default(),
            reasoning: ArcRwSignal::default(),
            state: ArcRwSignal::new(TurnState::Waiting),
            left_ms: ArcRwSignal::new(None),
        }
    }

    /// Applies an event to the turn itself.
    pub fn apply_event(&self, event: &TurnEvent) {
        match event {
            TurnEvent::Turn { history_cut, .. } => {
                self.history_cut.set(*history_cut);
                self.state.set(TurnState::Running);
            }
            TurnEvent::Delta { text } => self.answer.update(|answer| answer.push_str(text)),
            TurnEvent::Reasoning { text } => self.reasoning.update(|reasoning| reasoning.push_str(text)),
            TurnEvent::Finish { outcome, usage, cost_usd, .. } => {
                let cost = cost_usd.as_ref().and_then(|usd| usd.parse().ok()).and_then(domain::Picos::from_usd);
                let cost = cost.map(|cost| format!(" · {cost}")).unwrap_or_default();
                let used = format!("{} tokens{cost}", usage.counted());
                self.state.set(TurnState::Ended { outcome: *outcome, used });
            }
            TurnEvent::Failed { problem } => self.state.set(TurnState::Failed(problem.clone())),
        }
    }

    /// Returns the note below the response if it has this status; `None` if it is complete.
    pub fn note(&self, status: MessageStatus) -> Option<&'static str> {
        outcome::note(status, &self.answer.read_untracked(), &self.reasoning.read_untracked())
    }
}

/// Renders a turn.
#[component]
pub(super) fn LiveTurn(
    /// The turn to render.
    turn: TurnView,
    /// Whether the response can be regenerated: it is the last one, and no turn is in progress.
    #[prop(into)]
    can_regenerate: Signal<bool>,
    /// Called to send the message of a refused turn again.
    #[prop(into)]
    on_retry: Callback<()>,
    /// Called to regenerate a turn's response.
    #[prop(into)]
    on_regenerate: Callback<TurnId>,
) -> impl IntoView {
    let replaces = turn.replaces;
    let retry = Callback::new(move |()| match replaces {
        Some(earlier) => on_regenerate.run(earlier),
        None => on_retry.run(()),
    });
    let of_turn = turn.clone();
    let (model, fallback_for) = (RwSignal::from(turn.model), RwSignal::from(turn.fallback_for));
    let (history_cut, hides_user_message) = (RwSignal::from(turn.history_cut), RwSignal::from(turn.hides_user_message));
    let (state, left_ms) = (RwSignal::from(turn.state), RwSignal::from(turn.left_ms));
    let (answer, reasoning) = (RwSignal::from(turn.answer), RwSignal::from(turn.reasoning));
    let at = Memo::new(move |_| match state.get() {
        // Computed once, when the refusal arrives. Waits of up to a minute show only the countdown.
        TurnState::Refused(Problem { retry_after_ms: Some(ms), .. }) if ms > 60_000 => clock::time_in(ms),
        _ => String::new(),
    });
    let was_refused = Memo::new(move |_| matches!(state.get(), TurnState::Refused(_)));
    let question = turn.question;
    let is_shown = move || !was_refused.get() && !hides_user_message.get();
    let user_message =
        (!question.is_empty()).then_some(move || is_shown().then(|| view! { <UserMessage text=question.clone()/> }));
    let foot = move || match state.get() {
        TurnState::Waiting => {
            view! { <p class="thinking" aria-hidden="true"><span class="caret"></span></p> }.into_any()
        }
        // Once there is text, the style sheet draws the caret after the last word.
        TurnState::Running => {
            (move || answer.read().is_empty().then(|| view! { <span class="caret" aria-hidden="true"></span> }))
                .into_any()
        }
        TurnState::Ended { outcome, used } => {
            ended_foot(&of_turn, outcome.into(), used, can_regenerate, on_regenerate).into_any()
        }
        TurnState::Failed(problem) => failed_foot(&of_turn, problem, can_regenerate, on_regenerate).into_any(),
        TurnState::Refused(problem) => view! { <RefusalCard problem left_ms at on_retry=retry/> }.into_any(),
    };
    let has_reasoning = Memo::new(move |_| !reasoning.read().trim().is_empty());
    let fallback_note = move || {
        fallback_for.get().map(|missing| {
            view! { <p class="note"><Draw icon=Icon::Alert/>{format!("{missing} is unavailable right now. {} answered instead.", model.get())}</p> }
        })
    };
    let busy = Memo::new(move |_| matches!(state.get(), TurnState::Waiting | TurnState::Running));
    view! {
        {user_message}
        <article class="answer live" aria-label="Response" aria-busy=move || busy.get().to_string()>
            {move || history_cut.get().map(|cut| view! { <HistoryNote cut/> })}
            {fallback_note}
            {move || has_reasoning.get().then(|| view! { <Reasoning text=reasoning/> })}
            <Markdown text=answer/>
            {foot}
        </article>
    }
}

/// Renders what follows a response that has ended: a note if it is incomplete, the model, its usage and a Regenerate button.
fn ended_foot(
    turn: &TurnView,
    status: MessageStatus,
    used: String,
    can_regenerate: Signal<bool>,
    on_regenerate: Callback<TurnId>,
) -> impl IntoView + use<> {
    let (id, model) = (turn.id, turn.model.get_untracked());
    let again = move || {
        can_regenerate.get().then(|| view! { <button type="button" class="quiet small again" on:click=move |_| on_regenerate.run(id)><Draw icon=Icon::Retry/>{outcome::retry_label(status)}</button> })
    };
    view! {
        {turn.note(status).map(|note| view! { <p class="note"><Draw icon=Icon::Alert/>{note}</p> })}
        <p class="byline">{model}<span>{used}</span>{again}</p>
    }
}

/// Renders what follows a response that failed: the same note as after a reload, the problem, and a button to try again.
fn failed_foot(
    turn: &TurnView,
    problem: Problem,
    can_regenerate: Signal<bool>,
    on_regenerate: Callback<TurnId>,
) -> impl IntoView + use<> {
    let id = turn.id;
    let status = outcome::status_of_failure(&problem);
    // The note of a tool call is its problem's message.
    let details = (status == MessageStatus::Failed).then_some(problem.message);
    let again = move || {
        can_regenerate.get().then(|| view! { <button type="button" class="secondary small" on:click=move |_| on_regenerate.run(id)><Draw icon=Icon::Retry/>{outcome::retry_label(status)}</button> })
    };
    view! {
        <div class="note broke" role="alert">
            <Draw icon=Icon::Danger/><span>{turn.note(status)}</span>
            {details.map(|details| view! { <span class="details">{details}</span> })}
            {again}
        </div>
    }
}

/// Returns the toast text for a quota that is nearly used up, or `None` if enough is left.
pub(super) fn low_quota_text(quota: &domain::Quota) -> Option<String> {
    if quota.requests_low() {
        let back = quota
            .requests
            .reset_ms
            .map(|ms| format!("; all available again in {}", wait(ms.min(60_000))))
            .unwrap_or_default();
        return Some(match quota.requests.remaining {
            0 => format!("No requests left this minute{back}."),
            n => format!("{} left this minute{back}.", count(n, "request", "requests")),
        });
    }
    quota.tokens_low().then(|| {
        let back = quota
            .tokens
            .next_free_ms
            .map(|ms| format!("; more available at {}", clock::time_in(ms)))
            .unwrap_or_default();
        format!("{} tokens left today{back}.", domain::Tokens(quota.tokens.remaining))
    })
}

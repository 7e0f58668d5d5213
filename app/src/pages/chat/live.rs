//! Turns that started after the page was rendered.

use super::transcript::Said;
use crate::browser::clock;
use crate::components::duration::wait;
use crate::components::icon::{Draw, Icon};
use crate::components::markdown::Markdown;
use crate::components::refusal_card::RefusalCard;
use domain::money::count;
use domain::{Outcome, Problem, TurnEvent, TurnId};
use leptos::prelude::*;

/// Where a turn stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// Sent; nothing has come back.
    Waiting,
    /// Words arrive.
    Running,
    /// It came to an end.
    Ended {
        /// How.
        outcome: Outcome,
        /// What it used and cost.
        used: String,
    },
    /// It broke after it had begun.
    Failed(Problem),
    /// It was never begun.
    Refused(Problem),
}

/// A turn on screen. Signals are reference-counted, since turns are made by events and not by the page's owner.
#[derive(Clone)]
pub(super) struct Live {
    /// Its key.
    pub id: TurnId,
    /// What was asked; empty for a turn that was running when the page was drawn.
    pub question: String,
    /// The label of who answers.
    pub model: ArcRwSignal<String>,
    /// Whose place they took, by label.
    pub fallback_for: ArcRwSignal<Option<String>>,
    /// The turn whose answer gives way to this one's, once this one has begun.
    pub replaces: Option<TurnId>,
    /// Whether the question stands above already.
    pub is_asked_above: ArcRwSignal<bool>,
    /// The answer so far.
    pub answer: ArcRwSignal<String>,
    /// The reasoning so far.
    pub reasoning: ArcRwSignal<String>,
    /// Where it stands.
    pub stand: ArcRwSignal<Stand>,
    /// What is left of the wait that a refusal named.
    pub left_ms: ArcRwSignal<Option<u64>>,
}

impl Live {
    pub fn new(id: TurnId, question: String, model: String) -> Self {
        Self {
            id,
            question,
            model: ArcRwSignal::new(model),
            fallback_for: ArcRwSignal::new(None),
            replaces: None,
            is_asked_above: ArcRwSignal::new(false),
            answer: ArcRwSignal::default(),
            reasoning: ArcRwSignal::default(),
            stand: ArcRwSignal::new(Stand::Waiting),
            left_ms: ArcRwSignal::new(None),
        }
    }

    /// Takes in what an event says about the turn itself.
    pub fn hear(&self, event: &TurnEvent) {
        match event {
            TurnEvent::Turn { .. } => self.stand.set(Stand::Running),
            TurnEvent::Delta { text } => self.answer.update(|answer| answer.push_str(text)),
            TurnEvent::Reasoning { text } => self.reasoning.update(|reasoning| reasoning.push_str(text)),
            TurnEvent::Finish { outcome, usage, cost_usd, .. } => {
                let cost = cost_usd.as_ref().and_then(|usd| usd.parse().ok()).and_then(domain::Picos::from_usd);
                let cost = cost.map(|cost| format!(" · {cost}")).unwrap_or_default();
                let used = format!("{} tokens{cost}", usage.counted());
                self.stand.set(Stand::Ended { outcome: *outcome, used });
            }
            TurnEvent::Failed { problem } => self.stand.set(Stand::Failed(problem.clone())),
        }
    }
}

/// Draws a turn; `on_retry` sends its question again.
#[component]
pub(super) fn LiveTurn(
    /// The turn.
    turn: Live,
    /// Whether its answer may be written again: it is the last one, and nothing runs.
    #[prop(into)]
    may_repeat: Signal<bool>,
    /// Sends the words of a refused turn again.
    #[prop(into)]
    on_retry: Callback<()>,
    /// Has a turn answered again.
    #[prop(into)]
    on_again: Callback<TurnId>,
) -> impl IntoView {
    let replaces = turn.replaces;
    let retry = Callback::new(move |()| match replaces {
        Some(earlier) => on_again.run(earlier),
        None => on_retry.run(()),
    });
    let Live { id, question, model, fallback_for, answer, reasoning, stand, left_ms, is_asked_above, .. } = turn;
    let (model, fallback_for) = (RwSignal::from(model), RwSignal::from(fallback_for));
    let is_asked_above = RwSignal::from(is_asked_above);
    let (stand, left_ms) = (RwSignal::from(stand), RwSignal::from(left_ms));
    let (answer, reasoning) = (RwSignal::from(answer), RwSignal::from(reasoning));
    let at = Memo::new(move |_| match stand.get() {
        // Worked out once, when the refusal came.
        Stand::Refused(Problem { retry_after_ms: Some(ms), .. }) if ms > 60_000 => clock::time_in(ms),
        _ => String::new(),
    });
    let was_refused = Memo::new(move |_| matches!(stand.get(), Stand::Refused(_)));
    let said = (!question.is_empty()).then(|| {
        let question = question.clone();
        move || (!was_refused.get() && !is_asked_above.get()).then(|| view! { <Said text=question.clone()/> })
    });
    let foot = move || {
        match stand.get() {
        Stand::Waiting => view! { <p class="thinking" aria-hidden="true"><span class="caret"></span></p> }.into_any(),
        // The caret stands behind the last word, by the style sheet.
        Stand::Running => (move || answer.read().is_empty().then(|| view! { <span class="caret" aria-hidden="true"></span> })).into_any(),
        Stand::Ended { outcome, used } => {
            let note = match outcome {
                Outcome::Stopped => Some("Stopped"),
                Outcome::Truncated => Some("Response cut off at the length limit"),
                _ => None,
            };
            view! {
                {note.map(|note| view! { <p class="note"><Draw icon=Icon::Alert/>{note}</p> })}
                <p class="byline">{model.get()}<span>{used}</span>
                    {move || may_repeat.get().then(|| view! { <button type="button" class="quiet small again" on:click=move |_| on_again.run(id)><Draw icon=Icon::Retry/>"Regenerate"</button> })}
                </p>
            }
            .into_any()
        }
        Stand::Failed(problem) => view! {
            <div class="note broke" role="alert">
                <Draw icon=Icon::Danger/><span>{problem.message}</span>
                {move || may_repeat.get().then(|| view! { <button type="button" class="secondary small" on:click=move |_| on_again.run(id)><Draw icon=Icon::Retry/>"Try again"</button> })}
            </div>
        }
        .into_any(),
        Stand::Refused(problem) => view! { <RefusalCard problem left_ms at on_retry=retry/> }.into_any(),
    }
    };
    let thought = move || {
        (!reasoning.read().is_empty()).then(|| {
            view! {
                <details class="reasoning"><summary>"Reasoning"</summary><p>{move || reasoning.get()}</p></details>
            }
        })
    };
    let stands_in = move || {
        fallback_for.get().map(|missing| {
            view! { <p class="note"><Draw icon=Icon::Alert/>{format!("{missing} is unavailable right now. {} answered instead.", model.get())}</p> }
        })
    };
    let busy = Memo::new(move |_| matches!(stand.get(), Stand::Waiting | Stand::Running));
    view! {
        {said}
        <article class="answer live" aria-label="Answer" aria-busy=move || busy.get().to_string()>
            {stands_in}
            {thought}
            <Markdown text=answer/>
            {foot}
        </article>
    }
}

/// What a toast says when little is left.
pub(super) fn low(quota: &domain::Quota) -> Option<String> {
    if quota.requests_low() {
        let back =
            quota.requests.reset_ms.map(|ms| format!("; all return in {}", wait(ms.min(60_000)))).unwrap_or_default();
        return Some(match quota.requests.remaining {
            0 => format!("No requests left this minute{back}."),
            n => format!("{} left this minute{back}.", count(n, "request", "requests")),
        });
    }
    quota.tokens_low().then(|| {
        let back =
            quota.tokens.next_free_ms.map(|ms| format!("; some return at {}", clock::time_in(ms))).unwrap_or_default();
        format!("{} tokens left today{back}.", domain::Tokens(quota.tokens.remaining))
    })
}

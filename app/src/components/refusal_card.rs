//! The card shown instead of a response: what happened, when to try again, and what to do. Rendered once as a template for all kinds of
//! problems; the island keeps the parts of one kind.

use super::icon::{Draw, Icon};
use domain::ProblemKind;
use leptos::prelude::*;

/// The template of the card. An element with `data-kinds` belongs to the kinds that are named there; elements with `data-slot` are filled
/// in or shown by the island.
#[component]
pub fn RefusalCard() -> impl IntoView {
    view! {
        <section class="refusal" translate="no">
            // The countdown is outside the alert, so that screen readers don't announce every tick.
            <div role="alert">
                <h2>
                    <span class="icon-slot" data-kinds=kinds(is_limit)><Draw icon=Icon::Clock/></span>
                    <span class="icon-slot" data-kinds=kinds(|kind| !is_limit(kind))><Draw icon=Icon::Danger/></span>
                    {headings()}
                </h2>
                <p data-slot="message"></p>
            </div>
            <p class="when" data-slot="wait" hidden=true>
                "Try again in "<strong class="countdown" data-slot="countdown"></strong><span data-slot="at"></span>"."
            </p>
            <p class="when" data-slot="now" hidden=true>"You can send now."</p>
            {hints()}
            <div class="actions">
                <button type="button" class="small" data-slot="retry" data-kinds=kinds(can_retry)>"Send again"</button>
                <button type="button" class="small secondary" data-slot="cheaper" hidden=true>"Use "<span data-slot="cheaper-label"></span></button>
                <button type="button" class="small secondary" data-slot="shorter" hidden=true>"Ask for a shorter answer"</button>
                <a class="button small secondary" data-slot="upgrade" href="/pricing" hidden=true>
                    <span data-kinds=kinds(|kind| kind == ProblemKind::PlanTooSmall)>"See plans that include it"</span>
                    <span data-kinds=kinds(|kind| kind != ProblemKind::PlanTooSmall)>"See plans with higher limits"</span>
                </a>
                <a class="button small" data-kinds=ProblemKind::SignInRequired.as_str() href="/sign-in">"Sign in"</a>
                <a class="button small" data-kinds=ProblemKind::VerifyEmail.as_str() href="/verify">"Confirm email address"</a>
                <label class="check" data-slot="auto" data-kinds=kinds(can_retry) hidden=true><input type="checkbox"/>"Send when possible"</label>
            </div>
        </section>
    }
}

/// Returns the names of the kinds for which a condition holds, separated by spaces.
fn kinds(holds: impl Fn(ProblemKind) -> bool) -> String {
    let names: Vec<&str> = ProblemKind::ALL.into_iter().filter(|kind| holds(*kind)).map(ProblemKind::as_str).collect();
    names.join(" ")
}

/// Renders each heading once, for all kinds that share it.
fn headings() -> impl IntoView {
    let mut all: Vec<&str> = ProblemKind::ALL.into_iter().map(heading).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter()
        .map(|text| view! { <span data-kinds=kinds(|kind| heading(kind) == text)>{text}</span> })
        .collect_view()
}

/// Renders each hint with its kinds.
fn hints() -> impl IntoView {
    ProblemKind::ALL
        .into_iter()
        .filter_map(|kind| hint(kind).map(|text| view! { <p class="hint" data-kinds=kind.as_str()>{text}</p> }))
        .collect_view()
}

/// Returns whether a limit of the user was reached, so that waiting helps.
fn is_limit(kind: ProblemKind) -> bool {
    kind.status() == 429
}

/// Returns whether sending the same message again may help.
fn can_retry(kind: ProblemKind) -> bool {
    !matches!(
        kind,
        ProblemKind::TooLarge
            | ProblemKind::PlanTooSmall
            | ProblemKind::Invalid
            | ProblemKind::NotFound
            | ProblemKind::SignInRequired
    )
}

/// Returns what else may help, if anything.
fn hint(kind: ProblemKind) -> Option<&'static str> {
    match kind {
        ProblemKind::TokensLimit => {
            Some("A shorter message, a new conversation or another model may be accepted sooner.")
        }
        ProblemKind::TooLarge => {
            Some("A shorter message, a new conversation or a model with a larger context may be accepted.")
        }
        _ => None,
    }
}

fn heading(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::RequestsLimit | ProblemKind::AttemptsLimit => "Rate limit reached",
        ProblemKind::TokensLimit => "Not enough tokens left today",
        ProblemKind::InFlightLimit => "Too many responses in progress",
        ProblemKind::TooLarge => "Message too long",
        ProblemKind::PlanTooSmall => "Not included in your plan",
        ProblemKind::VerifyEmail => "Confirm your email address",
        ProblemKind::LimitsUnavailable | ProblemKind::ModelUnavailable | ProblemKind::Overloaded => {
            "Temporarily unavailable"
        }
        ProblemKind::ModelFailed => "The model couldn't answer",
        ProblemKind::SignInRequired => "You're signed out",
        _ => "Something went wrong",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_in_each_part_of_the_card_at_most_once() {
        let (limits, others) = (kinds(is_limit), kinds(|kind| !is_limit(kind)));
        assert_eq!(limits, "requests_limit tokens_limit in_flight_limit attempts_limit");
        assert_eq!(limits.split(' ').count() + others.split(' ').count(), ProblemKind::ALL.len());
        assert!(!kinds(can_retry).split(' ').any(|kind| kind == "too_large"));
    }
}

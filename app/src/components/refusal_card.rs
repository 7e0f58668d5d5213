//! The card shown instead of a response: what happened, when to try again, and what to do.

use super::duration::wait;
use super::icon::{Draw, Icon};
use domain::{Problem, ProblemKind};
use leptos::prelude::*;

/// A card that explains a refusal and offers the actions that may help.
#[component]
pub fn RefusalCard(
    /// The problem that caused the refusal.
    problem: Problem,
    /// Remaining wait in milliseconds, counting down; `None` if waiting doesn't help.
    #[prop(into)]
    left_ms: Signal<Option<u64>>,
    /// Local time at which the wait ends; empty if it isn't shown.
    #[prop(into)]
    at: Signal<String>,
    /// Called to send the same message again.
    #[prop(into)]
    on_retry: Callback<()>,
) -> impl IntoView {
    let heading = heading(problem.kind);
    let is_wait = matches!(
        problem.kind,
        ProblemKind::RequestsLimit | ProblemKind::TokensLimit | ProblemKind::InFlightLimit | ProblemKind::AttemptsLimit
    );
    let icon = if is_wait { Icon::Clock } else { Icon::Danger };
    let (can_retry, hint) = (can_retry(problem.kind), hint(problem.kind));
    let label = match problem.kind {
        ProblemKind::PlanTooSmall => "See plans that include it",
        _ => "See plans with higher limits",
    };
    let upgrade = problem.upgrade.map(
        |plan| view! { <a class="button small secondary" href=format!("/pricing?plan={plan}#{plan}")>{label}</a> },
    );
    let solve = match problem.kind {
        ProblemKind::SignInRequired => Some(("/sign-in", "Sign in")),
        ProblemKind::VerifyEmail => Some(("/verify", "Confirm email address")),
        _ => None,
    };
    let solve = solve.map(|(href, label)| view! { <a class="button small" href=href>{label}</a> });
    let waiting = move || left_ms.get().is_some_and(|ms| ms > 0);
    view! {
        <section class="refusal">
            // The countdown is outside the alert, so that screen readers don't announce every tick.
            <div role="alert"><h2><Draw icon/>{heading}</h2><p>{problem.message}</p></div>
            {move || left_ms.get().map(|ms| {
                let clock = at.get();
                if ms == 0 {
                    view! { <p class="when">"You can send now."</p> }.into_any()
                } else if clock.is_empty() {
                    view! { <p class="when">"Try again in " <strong class="countdown">{wait(ms)}</strong> "."</p> }.into_any()
                } else {
                    view! { <p class="when">"Try again in " <strong class="countdown">{wait(ms)}</strong> ", at " {clock} "."</p> }.into_any()
                }
            })}
            {hint.map(|hint| view! { <p class="hint">{hint}</p> })}
            <div class="actions">
                {can_retry.then(|| view! {
                    <button type="button" class="small" disabled=waiting on:click=move |_| on_retry.run(())>"Send again"</button>
                })}
                {upgrade} {solve}
            </div>
        </section>
    }
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

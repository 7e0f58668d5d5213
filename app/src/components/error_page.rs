//! The page shown instead of one that fails: what happened, and where to go next.

use crate::page_context::page_context;
use domain::{Problem, ProblemKind, brand};
use leptos::prelude::*;

/// What happened and where to go next.
#[component]
pub fn ErrorPage(
    /// The problem that prevented the page from being shown.
    problem: Problem,
) -> impl IntoView {
    let heading = match problem.kind {
        ProblemKind::NotFound => "Page not found",
        ProblemKind::SignInRequired => "Sign in required",
        ProblemKind::VerifyEmail => "Confirm your email address",
        _ => "Something went wrong",
    };
    let context = page_context();
    let (href, label) = match problem.kind {
        ProblemKind::SignInRequired => ("/sign-in".to_owned(), "Sign in"),
        ProblemKind::VerifyEmail => (context.with_next("/verify"), "Enter the code"),
        _ if context.viewer.is_some() => ("/chat".to_owned(), "Open the chat"),
        _ => ("/".to_owned(), "Go home"),
    };
    let (status, is_ours) = (problem.status(), problem.status() >= 500);
    let here = Some(context.here).filter(|here| is_ours && !here.is_empty());
    view! {
        <section class="refused">
            <p class="refused-code" aria-hidden="true">{status}</p>
            <h1>{heading}</h1>
            <p>{problem.message}</p>
            <p class="actions">
                <a class="button" href=href>{label}</a>
                {here.map(|here| view! { <a class="button secondary" href=here>"Try again"</a> })}
            </p>
            <WaysOn is_ours incident=problem.incident.unwrap_or_default()/>
        </section>
    }
}

/// Other pages that may help.
#[component]
fn WaysOn(
    /// Whether the failure is ours, not that of a link or an address.
    is_ours: bool,
    /// The number of the failure; empty without one.
    incident: String,
) -> impl IntoView {
    let mail = match incident.as_str() {
        "" => format!("mailto:{}", brand::SUPPORT_EMAIL),
        number => format!("mailto:{}?subject=Failure%20{number}", brand::SUPPORT_EMAIL),
    };
    let link = |href: String, label: &'static str, about: &'static str| {
        view! { <li><a href=href>{label}</a><span>{about}</span></li> }
    };
    view! {
        <nav class="ways-on" aria-label="Other pages">
            <ul>
                {(brand::STATUS && is_ours).then(|| link("/status".to_owned(), "Status", "Whether everything works right now"))}
                {brand::HELP.then(|| link("/help".to_owned(), "Help", "Limits, models, billing, privacy and your account"))}
                {(!is_ours).then(|| link("/pricing".to_owned(), "Pricing", "Plans with their models and limits"))}
                {link(mail, "Contact us", "We answer by email")}
            </ul>
        </nav>
    }
}

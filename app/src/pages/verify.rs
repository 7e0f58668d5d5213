//! `/verify`: confirms an email address by the link or the code of a mail. A link only shows a button, so that mail scanners, which open
//! every link, don't use it up.

use super::sign_up::ChosenPlan;
use crate::components::auth_card::{AuthCard, NextField};
use crate::components::field::FormError;
use crate::components::icon::{Draw, Icon};
use crate::page_context::{page_context, returning_to};
use domain::Viewer;
use leptos::prelude::*;

/// Renders the page that confirms an email address.
#[component]
pub fn Verify() -> impl IntoView {
    let context = page_context();
    // A rejected token is not offered again.
    let token = context.query("token").filter(|token| !token.is_empty() && context.form.errors.is_empty());
    let body = match (token, context.viewer) {
        (Some(token), _) => view! { <ByLink token/> }.into_any(),
        (None, Some(viewer)) if viewer.is_verified => view! { <Confirmed/> }.into_any(),
        (None, Some(viewer)) => view! { <ByCode viewer/> }.into_any(),
        (None, None) => view! { <SignedOut/> }.into_any(),
    };
    view! { <AuthCard title="Confirm your email address"><ChosenPlan/>{body}</AuthCard> }
}

#[component]
fn ByLink(token: String) -> impl IntoView {
    view! {
        <form method="post" action="/verify" class="stack">
            <input type="hidden" name="token" value=token/>
            <NextField/>
            <button>"Confirm email address"</button>
        </form>
    }
}

#[component]
fn ByCode(viewer: Viewer) -> impl IntoView {
    let form = page_context().form;
    let error = form.error("code");
    let is_sent = page_context().query("sent").is_some();
    view! {
        <p>"We sent a link and a 6-digit code to "<strong class="long">{viewer.email}</strong>". Open the link, or enter the code. Both work for 30 minutes."</p>
        {is_sent.then(|| view! { <p class="done" role="status"><Draw icon=Icon::Check/>"A new link and code are on their way."</p> })}
        <form method="post" action="/verify" class="stack">
            <FormError/>
            <NextField/>
            <div class="field">
                <label for="code">"Code"</label>
                <input id="code" name="code" type="text" class="code" inputmode="numeric" autocomplete="one-time-code" maxlength="12"
                    required value=form.value("code") aria-invalid=error.is_some().then_some("true")
                    aria-describedby=error.is_some().then_some("code-note")/>
                {error.map(|sentence| view! { <p class="error" id="code-note">{sentence}</p> })}
            </div>
            <button>"Confirm"</button>
        </form>
        <form method="post" action="/verify/resend" class="stack"><NextField/><button class="secondary">"Send a new code"</button></form>
        <p class="auth-links">"Wrong address? " <a href="/settings">"Change it"</a>". No email? Check the spam folder."</p>
        <p class="auth-links"><a href="/chat">"Back to the chat"</a></p>
    }
}

#[component]
fn Confirmed() -> impl IntoView {
    // Anyone can write the query, so only the pricing page is linked.
    let next = page_context().return_path().filter(|next| next.starts_with("/pricing?"));
    let (href, label) = match next {
        Some(next) => (next, "Continue with your plan"),
        None => ("/chat".to_owned(), "Open the chat"),
    };
    view! {
        <p class="done" role="status"><Draw icon=Icon::Check/>"Your email address is confirmed."</p>
        <a class="button" href=href>{label}</a>
    }
}

#[component]
fn SignedOut() -> impl IntoView {
    let context = page_context();
    let (text, href) = match context.query("confirmed").is_some() {
        true => ("Your email address is confirmed.", context.with_next("/sign-in")),
        false => ("Sign in to enter the code, or to get a new link.", returning_to("/sign-in", "/verify")),
    };
    view! {
        <FormError/>
        <p role="status">{text}</p>
        <a class="button" href=href>"Sign in"</a>
    }
}

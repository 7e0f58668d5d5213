//! `/sign-in/confirm`: asks signed-in users to prove who they are again before a sensitive change, if they haven't done so recently.

use crate::api;
use crate::components::auth_card::{AuthCard, NextField};
use crate::components::field::{Field, FormError, PasswordField};
use crate::components::loaded::loaded;
use crate::components::passkey_button::PasskeyButton;
use crate::components::provider_button::ServiceRow;
use crate::page_context::page_context;
use crate::view::factors::FactorsView;
use leptos::prelude::*;

/// Renders the page that requests a proof of identity.
#[component]
pub fn Confirm() -> impl IntoView {
    view! {
        <AuthCard title="Confirm it's you">
            {loaded(api::security::factors(), |factors| view! { <ProofMethods factors/> })}
            <p class="auth-links"><a href="/settings">"Cancel"</a></p>
        </AuthCard>
    }
}

/// The methods that the user has. With the parameter `factor` only those that are two factors.
#[component]
fn ProofMethods(factors: FactorsView) -> impl IntoView {
    let context = page_context();
    let is_second = context.submitted_or_query("factor").is_some();
    let has_password = factors.has_password && !is_second;
    let has_passkey = context.has_passkeys && !factors.passkeys.is_empty();
    let has_totp = factors.has_totp;
    let providers = if is_second { Vec::new() } else { factors.confirming() };
    let has_any = has_password || has_passkey || has_totp || !providers.is_empty();
    let explanation = match (is_second, has_any) {
        (true, _) => "Confirm with a second factor to continue. You won't be asked again in this session.",
        (false, true) => "Confirm that it's you to continue. You won't be asked again for 10 minutes.",
        (false, false) => "Your account has no password. Set one with the link that we send you, then continue.",
    };
    let is_divided = has_password || has_totp;
    let by_mail = !factors.has_password && !is_second;
    view! {
        <p>{explanation}</p>
        <FormError/>
        {has_password.then(|| view! { <Password/> })}
        {has_passkey.then(|| view! { <PasskeyButton ceremony="/sign-in/confirm/passkey" label="Use a passkey"/> })}
        {has_totp.then(|| view! { <Code/> })}
        <ServiceRow providers confirms=true is_divided/>
        {by_mail.then(|| view! { <p class="auth-links"><a href="/forgot">"Set a password by email"</a></p> })}
    }
}

#[component]
fn Password() -> impl IntoView {
    let email = page_context().viewer.map(|viewer| viewer.email).unwrap_or_default();
    view! {
        <form method="post" action="/sign-in/confirm" class="stack">
            <NextField/>
            <div class="field">
                <label for="email">"Email"</label>
                <input id="email" type="email" autocomplete="username" value=email readonly/>
            </div>
            <PasswordField name="password" label="Password" autocomplete="current-password"/>
            <button>"Continue"</button>
        </form>
    }
}

/// The form for a code, which carries the parameter `factor`.
#[component]
fn Code() -> impl IntoView {
    let factor = page_context().submitted_or_query("factor");
    view! {
        <form method="post" action="/sign-in/confirm" class="stack">
            <NextField/>
            {factor.map(|factor| view! { <input type="hidden" name="factor" value=factor/> })}
            <Field name="code" label="Code from your authenticator app" kind="text" autocomplete="one-time-code"/>
            <button class="secondary">"Use the code"</button>
        </form>
    }
}

//! `/sign-in/confirm`: asks signed-in users to prove who they are again before a sensitive change, if they haven't done so recently.

use crate::api;
use crate::components::auth_card::{AuthCard, NextField};
use crate::components::field::{Field, FormError, PasswordField};
use crate::components::loaded::loaded;
use crate::components::passkey_button::PasskeyButton;
use crate::page_context::page_context;
use crate::view::factors::FactorsView;
use leptos::prelude::*;

/// Renders the page that asks for a proof of identity.
#[component]
pub fn Confirm() -> impl IntoView {
    view! {
        <AuthCard title="Confirm it's you">
            {loaded(api::security::factors(), |factors| view! { <Ways factors/> })}
            <p class="auth-links"><a href="/settings">"Cancel"</a></p>
        </AuthCard>
    }
}

/// The ways that the user has. With the parameter `factor` only those that are two factors.
#[component]
fn Ways(factors: FactorsView) -> impl IntoView {
    let context = page_context();
    let second = context.carried("factor");
    let email = context.viewer.map(|viewer| viewer.email).unwrap_or_default();
    let explanation = match second.is_some() {
        true => "Prove a second factor to continue. We don't ask again in this session.",
        false => "Prove who you are to continue. We don't ask again for 10 minutes.",
    };
    let password = (factors.has_password && second.is_none()).then(|| {
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
    });
    let passkey = (!factors.passkeys.is_empty())
        .then(|| view! { <PasskeyButton ceremony="/sign-in/confirm/passkey" label="Use a passkey"/> });
    let code = factors.has_totp.then(|| {
        view! {
            <form method="post" action="/sign-in/confirm" class="stack">
                <NextField/>
                {second.map(|factor| view! { <input type="hidden" name="factor" value=factor/> })}
                <Field name="code" label="Code of your authenticator app" kind="text" autocomplete="one-time-code"/>
                <button class="secondary">"Use the code"</button>
            </form>
        }
    });
    view! {
        <p>{explanation}</p>
        <FormError/>
        {password}
        {passkey}
        {code}
        <p class="auth-links"><a href="/forgot">"Forgot password?"</a></p>
    }
}

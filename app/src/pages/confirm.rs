//! `/sign-in/confirm`: asks signed-in users again who they are before a sensitive change, if they haven't proved it recently.

use crate::api;
use crate::components::auth_card::{AuthCard, NextField};
use crate::components::field::{FormError, PasswordField};
use crate::components::loaded::loaded;
use crate::components::provider_button::ServiceRow;
use crate::page_context::page_context;
use crate::view::identity::WaysIn;
use leptos::prelude::*;

/// Renders the page that asks again who the user is.
#[component]
pub fn Confirm() -> impl IntoView {
    view! {
        <AuthCard title="Confirm it's you">
            {loaded(api::identity::own(), |ways: WaysIn| view! { <Ways ways/> })}
            <p class="auth-links"><a href="/settings">"Cancel"</a></p>
        </AuthCard>
    }
}

/// The ways in which the user can prove who they are.
#[component]
fn Ways(ways: WaysIn) -> impl IntoView {
    let providers = ways.connected();
    let has_password = ways.has_password;
    let sentence = match (has_password, providers.is_empty()) {
        (true, _) => "Enter your password to continue. We don't ask again for 10 minutes.",
        (false, false) => "Sign in again to continue. We don't ask again for 10 minutes.",
        (false, true) => "Your account has no password. Set one with the link that we send you, then continue.",
    };
    view! {
        <p>{sentence}</p>
        {match has_password {
            true => view! { <Password/> }.into_any(),
            false => view! { <FormError/> }.into_any(),
        }}
        <ServiceRow providers confirms=true is_divided=has_password/>
        <p class="auth-links"><a href="/forgot">{if has_password { "Forgot password?" } else { "Set a password by mail" }}</a></p>
    }
}

#[component]
fn Password() -> impl IntoView {
    let email = page_context().viewer.map(|viewer| viewer.email).unwrap_or_default();
    view! {
        <form method="post" action="/sign-in/confirm" class="stack">
            <FormError/>
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

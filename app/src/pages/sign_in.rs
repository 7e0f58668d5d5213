//! `/sign-in`: an HTML form that works without wasm.

use super::sign_up::ChosenPlan;
use crate::components::auth_card::{AuthCard, NextField, with_next};
use crate::components::field::{Field, FormError, PasswordField};
use crate::components::passkey_button::PasskeyButton;
use leptos::prelude::*;

/// Renders the sign-in page.
#[component]
pub fn SignIn() -> impl IntoView {
    view! {
        <AuthCard title="Sign in">
            <ChosenPlan/>
            <form method="post" action="/sign-in" class="stack">
                <FormError/>
                <NextField/>
                <Field name="email" label="Email" kind="email" autocomplete="username"/>
                <PasswordField name="password" label="Password" autocomplete="current-password"/>
                <button>"Sign in"</button>
            </form>
            <PasskeyButton ceremony="/sign-in/passkey" label="Sign in with a passkey"/>
            <p class="auth-links"><a href="/forgot">"Forgot password?"</a></p>
            <p class="auth-links">"Don't have an account? " <a href=with_next("/sign-up")>"Create account"</a></p>
        </AuthCard>
    }
}

//! `/sign-in/confirm`: asks signed-in users for their password again before a sensitive change, if they haven't entered it recently.

use crate::components::auth_card::{AuthCard, NextField};
use crate::components::field::{FormError, PasswordField};
use crate::page_context::page_context;
use leptos::prelude::*;

/// Renders the page that asks for the password again.
#[component]
pub fn Confirm() -> impl IntoView {
    let email = page_context().viewer.map(|viewer| viewer.email).unwrap_or_default();
    view! {
        <AuthCard title="Confirm it's you">
            <p>"Enter your password to continue. We don't ask again for 10 minutes."</p>
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
            <p class="auth-links"><a href="/forgot">"Forgot password?"</a></p>
            <p class="auth-links"><a href="/settings">"Cancel"</a></p>
        </AuthCard>
    }
}

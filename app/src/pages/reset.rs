//! `/reset`: sets a new password with the link of a mail.

use super::sign_up::PASSWORD_HINT;
use crate::components::auth_card::AuthCard;
use crate::components::field::{FormError, PasswordField};
use crate::page_context::page_context;
use leptos::prelude::*;

/// Renders the page that sets a new password.
#[component]
pub fn Reset() -> impl IntoView {
    let body = match page_context().submitted_or_query("token") {
        Some(token) => view! { <NewPassword token/> }.into_any(),
        None => view! {
            <FormError/>
            <p>"To set a new password, open the link in the email that we sent you."</p>
        }
        .into_any(),
    };
    view! {
        <AuthCard title="Set a new password">
            {body}
            <p class="auth-links">"Link expired? " <a href="/forgot">"Send a new link"</a></p>
        </AuthCard>
    }
}

#[component]
fn NewPassword(token: String) -> impl IntoView {
    view! {
        <form method="post" action="/reset" class="stack">
            <FormError/>
            <input type="hidden" name="token" value=token/>
            <PasswordField name="password" label="New password" autocomplete="new-password" hint=PASSWORD_HINT/>
            <button>"Set password and sign in"</button>
        </form>
        <p class="hint">"You are signed out on all other devices."</p>
    }
}

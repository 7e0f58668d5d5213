//! `/email/undo`: restores the previous email address with the link of a mail. The link only shows a button, so that mail scanners don't
//! use it up.

use crate::components::auth_card::AuthCard;
use crate::components::field::FormError;
use crate::page_context::page_context;
use leptos::prelude::*;

/// Renders the page that restores the previous email address.
#[component]
pub fn EmailUndo() -> impl IntoView {
    let context = page_context();
    // A rejected token is not offered again.
    let token = context.query("token").filter(|token| !token.is_empty() && context.form.errors.is_empty());
    let body = match token {
        Some(token) => view! {
            <p>"Your account goes back to the address that this email was sent to, and sign-in methods that were added since the change are removed. Set a new password afterwards, because someone else may know the current one."</p>
            <form method="post" action="/email/undo" class="stack">
                <input type="hidden" name="token" value=token/>
                <button>"Restore email address"</button>
            </form>
        }
        .into_any(),
        None => view! {
            <FormError/>
            <p>"To restore the previous email address of an account, open the link in the email that we sent to that address. It works for 7 days."</p>
        }
        .into_any(),
    };
    view! {
        <AuthCard title="Undo the email change">
            {body}
            <p class="auth-links"><a href="/sign-in">"Sign in"</a></p>
        </AuthCard>
    }
}

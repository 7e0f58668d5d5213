//! `/sign-in/second`: requests a code of the authenticator app, or a recovery code, after another proof of identity.

use crate::components::auth_card::{AuthCard, NextField};
use crate::components::field::{Field, FormError};
use crate::page_context::page_context;
use leptos::prelude::*;

/// Renders the page that requests the second factor.
#[component]
pub fn SecondFactor() -> impl IntoView {
    view! {
        <AuthCard title="Enter your code">
            <p>"Open your authenticator app and enter its code for this site. Without the app, enter one of your recovery codes."</p>
            <form method="post" action="/sign-in/second" class="stack">
                <FormError/>
                <NextField/>
                <Field name="code" label="Code" kind="text" autocomplete="one-time-code"/>
                <button>"Continue"</button>
            </form>
            <p class="auth-links"><a href=page_context().with_next("/sign-in")>"Sign in with another account"</a></p>
        </AuthCard>
    }
}

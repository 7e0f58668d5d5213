//! `/sign-in`: an HTML form that works without wasm.

use crate::components::field::{Field, FormError};
use crate::components::frame::Frame;
use crate::page_context::page_context;
use leptos::prelude::*;

/// Renders the sign-in page.
#[component]
pub fn SignIn() -> impl IntoView {
    let next = page_context()
        .query("next")
        .or_else(|| Some(page_context().form.value("next")))
        .filter(|next| !next.is_empty());
    view! {
        <Frame title="Sign in">
            <section class="narrow">
                <h1>"Sign in"</h1>
                <form method="post" action="/sign-in" class="stack">
                    <FormError/>
                    {next.map(|next| view! { <input type="hidden" name="next" value=next/> })}
                    <Field name="email" label="Email" kind="email" autocomplete="username"/>
                    <Field name="password" label="Password" kind="password" autocomplete="current-password"/>
                    <button>"Sign in"</button>
                </form>
                <p class="aside">"Don't have an account? " <a href="/sign-up">"Create account"</a></p>
            </section>
        </Frame>
    }
}

//! `/sign-up`: an HTML form that works without wasm.

use crate::components::field::{Field, FormError};
use crate::components::frame::Frame;
use crate::page_context::page_context;
use leptos::prelude::*;

/// Renders the sign-up page.
#[component]
pub fn SignUp() -> impl IntoView {
    let next = page_context()
        .query("next")
        .or_else(|| Some(page_context().form.value("next")))
        .filter(|next| !next.is_empty());
    view! {
        <Frame title="Create account">
            <section class="narrow">
                <h1>"Create account"</h1>
                <form method="post" action="/sign-up" class="stack">
                    <FormError/>
                    {next.map(|next| view! { <input type="hidden" name="next" value=next/> })}
                    <Field name="name" label="Name" kind="text" autocomplete="name" optional=true/>
                    <Field name="email" label="Email" kind="email" autocomplete="username"/>
                    <Field name="password" label="Password" kind="password" autocomplete="new-password"
                        hint="At least 10 characters. A few random words are easy to remember."/>
                    <button>"Create account"</button>
                </form>
                <p class="aside">"Already have an account? " <a href="/sign-in">"Sign in"</a></p>
            </section>
        </Frame>
    }
}

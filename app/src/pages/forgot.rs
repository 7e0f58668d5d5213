//! `/forgot`: requests a link to reset a password. The answer is the same whether or not the address has an account.

use crate::components::auth_card::AuthCard;
use crate::components::captcha::CaptchaField;
use crate::components::field::{Field, FormError};
use crate::components::icon::{Draw, Icon};
use crate::page_context::page_context;
use leptos::prelude::*;

/// Renders the page that requests a link to reset a password.
#[component]
pub fn Forgot() -> impl IntoView {
    let body = match page_context().query("sent") {
        Some(_) => view! { <Sent/> }.into_any(),
        None => view! { <Request/> }.into_any(),
    };
    view! {
        <AuthCard title="Reset your password">
            {body}
            <p class="auth-links"><a href="/sign-in">"Back to sign-in"</a></p>
        </AuthCard>
    }
}

#[component]
fn Request() -> impl IntoView {
    view! {
        <p>"Enter your email address. We send you a link to set a new password."</p>
        <form method="post" action="/forgot" class="stack">
            <FormError/>
            <Field name="email" label="Email" kind="email" autocomplete="username"/>
            <CaptchaField/>
            <button>"Send link"</button>
        </form>
    }
}

#[component]
fn Sent() -> impl IntoView {
    view! {
        <p class="done" role="status"><Draw icon=Icon::Mail/>"Check your email."</p>
        <p>"If there is an account with this address, a link to set a new password is on its way. It works for 30 minutes. No email? Check the spam folder, or "<a href="/forgot">"send another link"</a>"."</p>
    }
}

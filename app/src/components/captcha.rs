//! The widget that checks that a visitor is human. Renders nothing unless the owner has configured one.

use crate::page_context::page_context;
use leptos::prelude::*;

/// The widget, in a form. The provider's script puts the result into a field of the form.
#[component]
pub fn CaptchaField() -> impl IntoView {
    let context = page_context();
    let error = context.form.error("captcha");
    context.captcha.map(|captcha| {
        view! {
            <div class="field captcha">
                <div class=captcha.class data-sitekey=captcha.site_key></div>
                {error.map(|sentence| view! { <p class="error" role="alert">{sentence}</p> })}
                <noscript><p class="error">"Turn on JavaScript to confirm that you are human."</p></noscript>
                <script src=captcha.script defer=true nonce=use_nonce()></script>
            </div>
        }
    })
}

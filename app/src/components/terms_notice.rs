//! The notice about the terms that a visitor accepts by creating an account.

use domain::brand;
use leptos::prelude::*;

/// The hidden field of a form that can create an account: the version of the terms that its page shows. A form that was rejected shows the
/// current version, not the submitted one.
#[component]
pub fn TermsField() -> impl IntoView {
    view! { <input type="hidden" name="terms" value=brand::TERMS_VERSION/> }
}

/// A sentence below a button that creates an account. The account stores the version of the terms, which the form has in its [`TermsField`].
#[component]
pub fn TermsNotice(
    /// What the visitor does, before "you accept".
    #[prop(default = "By creating an account")]
    when: &'static str,
) -> impl IntoView {
    view! {
        <p class="hint">
            {format!("{when} you accept {}'s ", brand::NAME)}<a href="/terms">"terms"</a>". What we store and why is in the "
            <a href="/privacy">"privacy policy"</a>"."
        </p>
    }
}

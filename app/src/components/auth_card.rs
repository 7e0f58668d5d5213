//! The frame of the pages on which visitors sign in or confirm something: a centered card.

use super::footer::SlimFooter;
use super::icon::Mark;
use crate::page_context::page_context;
use domain::brand;
use leptos::prelude::*;
use leptos_meta::Title;

/// A centered card with the product's mark and a heading, on a page without navigation.
#[component]
pub fn AuthCard(
    /// The heading, which is also the document title.
    #[prop(into)]
    title: String,
    children: Children,
) -> impl IntoView {
    view! {
        <Title text=title.clone()/>
        <a class="skip" href="#content">"Skip to content"</a>
        <div class="auth">
            <main id="content">
                <div class="auth-card">
                    <a class="auth-mark" href="/" aria-label=brand::NAME><Mark size=32/></a>
                    <h1>{title}</h1>
                    {children()}
                </div>
            </main>
            <SlimFooter/>
        </div>
    }
}

/// The hidden field that carries the path to return to after the form.
#[component]
pub fn NextField() -> impl IntoView {
    page_context().return_path().map(|next| view! { <input type="hidden" name="next" value=next/> })
}

/// The line between a form and other ways to continue.
#[component]
pub fn Divider() -> impl IntoView {
    view! { <p class="divider"><span>"or"</span></p> }
}

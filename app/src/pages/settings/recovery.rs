//! `/settings/security/recovery`: recovery codes, which are shown once.

use crate::components::frame::Frame;
use crate::page_context::page_context;
use crate::view::factors::FactorResult;
use leptos::prelude::*;

/// Renders the page of the recovery codes.
#[component]
pub fn Recovery() -> impl IntoView {
    let body = match page_context().factor {
        Some(FactorResult::RecoveryCodes(codes)) => view! { <Codes codes/> }.into_any(),
        _ => view! { <New/> }.into_any(),
    };
    view! {
        <Frame title="Recovery codes">
            <header class="page-head"><h1>"Recovery codes"</h1></header>
            {body}
        </Frame>
    }
}

#[component]
fn Codes(codes: Vec<String>) -> impl IntoView {
    view! {
        <p class="done" role="status">"Your authenticator app is on. You can use each of these recovery codes once instead of a code from the app."</p>
        <section class="setting">
            <h2>"Keep them safe"</h2>
            <div class="stack">
                <p>"Print them or store them in a password manager. They are shown only now, and earlier ones no longer work."</p>
                <ul class="codes">{codes.into_iter().map(|code| view! { <li><code>{code}</code></li> }).collect_view()}</ul>
                <p><a class="button" href="/settings/security">"I've saved them"</a></p>
            </div>
        </section>
    }
}

#[component]
fn New() -> impl IntoView {
    view! {
        <section class="setting">
            <h2>"New codes"</h2>
            <form method="post" action="/settings/security/recovery" class="stack">
                <p>"Recovery codes can't be shown again. You can create new ones; the current ones then no longer work."</p>
                <button>"Create new codes"</button>
                <p><a href="/settings/security">"Back to Security"</a></p>
            </form>
        </section>
    }
}

//! `/share/{token}`: the copy of a conversation that a shared link leads to, for everyone who has the link.

use crate::components::duration::day;
use crate::components::error_page::ErrorPage;
use crate::components::frame::Frame;
use crate::page_context::page_context;
use crate::view::share::ShareView;
use domain::{Problem, Role, SharedMessage, brand};
use leptos::prelude::*;

/// Renders the copy. The server shows the page only with one.
#[component]
pub fn Shared() -> impl IntoView {
    match page_context().share {
        Some(view) => view! { <Copy view/> }.into_any(),
        None => {
            view! { <Frame title="Page not found"><ErrorPage problem=Problem::not_found("page")/></Frame> }.into_any()
        }
    }
}

#[component]
fn Copy(view: ShareView) -> impl IntoView {
    let ShareView { title, created_at, messages } = view;
    view! {
        <Frame title=title.clone()>
            <article class="shared">
                <header class="page-head">
                    <h1 dir="auto">{title}</h1>
                    <p class="hint">{format!("A copy of a conversation on {}, shared on {}. Responses are written by AI and may be wrong.", brand::NAME, day(created_at))}</p>
                </header>
                {messages.into_iter().map(message).collect_view()}
                <footer class="hint"><a href="/">{format!("Start your own conversation with {}", brand::NAME)}</a></footer>
            </article>
        </Frame>
    }
}

fn message(message: SharedMessage) -> AnyView {
    let SharedMessage { role, html, model, files, .. } = message;
    let files = (!files.is_empty()).then(|| {
        let names = files.into_iter().map(|name| view! { <li>{name}</li> }).collect_view();
        view! { <ul class="shared-files" aria-label="Files, which aren't shared">{names}</ul> }
    });
    match role {
        Role::User => view! {
            <section class="user-message" aria-label="User">
                <div class="message" inner_html=html></div>
                {files}
            </section>
        }
        .into_any(),
        Role::Assistant => view! {
            <section class="answer" aria-label="Response">
                <div class="markdown" inner_html=html></div>
                {files}
                {model.map(|model| view! { <p class="hint" translate="no">{model}</p> })}
            </section>
        }
        .into_any(),
    }
}

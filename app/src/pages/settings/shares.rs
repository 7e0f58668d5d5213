//! `/settings/shares`: the links to copies of conversations, and the one that was just created.

use super::{Saved, Tabs};
use crate::api;
use crate::components::duration::day;
use crate::components::field::FormError;
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::view::provider::FormResult;
use crate::view::share::{CreatedShare, ShareRow, SharesView};
use leptos::prelude::*;
use time::OffsetDateTime;

/// Renders the page with shared links.
#[component]
pub fn Shares() -> impl IntoView {
    let created = match page_context().result {
        Some(FormResult::Share(created)) => Some(view! { <Created created/> }),
        _ => None,
    };
    view! {
        <Frame title="Shared links">
            <header class="page-head split"><h1>"Shared links"</h1><Tabs/></header>
            <Saved/>
            <FormError/>
            {created}
            {loaded(api::share::own(), |view| view! { <Shown view/> })}
        </Frame>
    }
}

/// The address of a link, which is shown this once.
#[component]
fn Created(created: CreatedShare) -> impl IntoView {
    let until = created.expires_at.map(|at| format!(" It works until {}.", day(at)));
    view! {
        <section class="setting">
            <h2>"New link"</h2>
            <div class="stack">
                <div class="field">
                    <label for="share-url">{format!("Link to “{}”", created.title)}</label>
                    <input id="share-url" type="text" value=created.url.clone() readonly dir="ltr"/>
                    <p class="hint">"Copy the link now: it isn't shown again."{until}</p>
                </div>
                <a class="button secondary" href=created.url>"Open link"</a>
            </div>
        </section>
    }
}

#[component]
fn Shown(view: SharesView) -> impl IntoView {
    let SharesView { now, shares } = view;
    let list = match shares.is_empty() {
        true => view! { <p class="hint">"No shared links. Create one with the Share button above a conversation."</p> }
            .into_any(),
        false => view! { <ul class="entries">{shares.into_iter().map(|share| row(share, now)).collect_view()}</ul> }
            .into_any(),
    };
    view! {
        <section class="setting">
            <h2>"Your links"</h2>
            <div class="stack">
                <p class="hint">"Anyone with a link can read the copy of the conversation as it was when the link was created. A revoked link no longer works."</p>
                {list}
            </div>
        </section>
    }
}

fn row(share: ShareRow, now: OffsetDateTime) -> impl IntoView {
    let ShareRow { share_id, conversation_id, title, created_at, expires_at } = share;
    let ends = match expires_at {
        Some(at) if at <= now => format!("Expired on {}", day(at)),
        Some(at) => format!("Expires on {}", day(at)),
        None => "Doesn't expire".to_owned(),
    };
    view! {
        <li>
            <div>
                <p><a class="long" href=format!("/chat/{conversation_id}")>{title.clone()}</a></p>
                <p class="hint">{format!("Created on {}. {ends}.", day(created_at))}</p>
            </div>
            <form method="post" action=format!("/settings/shares/{share_id}/revoke")>
                <button class="secondary small">"Revoke"<span class="unseen">{format!(" the link to {title}")}</span></button>
            </form>
        </li>
    }
}

//! `/settings/keys/{key_id}/pause`: pauses an API key. The mail about a loop leads here.

use super::edit::key_of_path;
use crate::api;
use crate::components::field::FormError;
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::view::api_key::KeyView;
use domain::ApiKeyState;
use leptos::prelude::*;

/// Renders the page that pauses a key.
#[component]
pub fn Pause() -> impl IntoView {
    view! { <Frame title="Pause API key">{loaded(api::api_key::one(key_of_path()), |view| view! { <Shown view/> })}</Frame> }
}

#[component]
fn Shown(view: KeyView) -> impl IntoView {
    let KeyView { now, key, .. } = view;
    let path = format!("/settings/keys/{}", key.id);
    let body = match key.state(now) {
        ApiKeyState::Paused => view! {
            <p>"This key is paused already. Its calls are refused until you resume it."</p>
            <p><a class="button secondary" href="/settings/keys">"Back to API keys"</a></p>
        }
        .into_any(),
        _ => view! {
            <form method="post" action=format!("{path}/pause") class="stack">
                <p>"New calls with this key are refused until you resume it under Settings, API keys. Your other keys and the chat are not affected."</p>
                <p class="actions"><button>"Pause key"</button><a class="button secondary" href="/settings/keys">"Cancel"</a></p>
            </form>
        }
        .into_any(),
    };
    view! {
        <p class="crumb"><a href="/settings/keys">"API keys"</a></p>
        <header class="page-head">
            <h1 class="long">{format!("Pause {}", key.name)}</h1>
            <p><code>{format!("{}…", key.prefix)}</code></p>
        </header>
        <FormError/>
        {body}
    }
}

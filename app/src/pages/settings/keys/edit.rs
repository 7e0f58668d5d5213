//! `/settings/keys/{key_id}`: one API key.

use super::fields::KeyFields;
use crate::api;
use crate::components::duration::{day, last_time};
use crate::components::field::FormError;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::view::api_key::KeyView;
use domain::{ApiKeyId, ApiKeyState};
use leptos::prelude::*;

/// Returns the key in the path. An invalid id becomes the nil UUID, which no key has, so the response is a 404.
pub(super) fn key_of_path() -> ApiKeyId {
    let path = page_context().path;
    let id = path.strip_prefix("/settings/keys/").and_then(|rest| rest.split('/').next());
    id.and_then(|id| id.parse::<uuid::Uuid>().ok()).unwrap_or_default().into()
}

/// Renders the page of a key.
#[component]
pub fn Edit() -> impl IntoView {
    view! { <Frame title="API key">{loaded(api::api_key::one(key_of_path()), |view| view! { <Shown view/> })}</Frame> }
}

#[component]
fn Shown(view: KeyView) -> impl IntoView {
    let KeyView { now, key, models } = view;
    let path = format!("/settings/keys/{}", key.id);
    let last = match key.last_used_at {
        Some(at) => format!("last used {}", last_time(now, at)),
        None => "not used yet".to_owned(),
    };
    let ends = key.expires_at.map(|at| format!(", expires on {}", day(at))).unwrap_or_default();
    let pause = match key.state(now) {
        ApiKeyState::Paused | ApiKeyState::Tripped => view! {
            <form method="post" action=format!("{path}/resume") class="stack">
                <p>"The key's calls are refused until you resume it."</p>
                <button class="secondary">"Resume key"</button>
            </form>
        }
        .into_any(),
        _ => view! {
            <form method="post" action=format!("{path}/pause") class="stack">
                <p>"New calls with the key are refused until you resume it. Responses in progress finish."</p>
                <button class="secondary">"Pause key"</button>
            </form>
        }
        .into_any(),
    };
    view! {
        <p class="crumb"><a href="/settings/keys">"API keys"</a></p>
        <header class="page-head">
            <h1 class="long">{key.name.clone()}</h1>
            <p><code>{format!("{}…", key.prefix)}</code>{format!(" Created on {}, {last}{ends}.", day(key.created_at))}</p>
        </header>
        <FormError/>
        <section class="setting">
            <h2>"Settings"</h2>
            <form method="post" action=path.clone() class="stack">
                <KeyFields models key=Some(key)/>
                <button>"Save changes"</button>
            </form>
        </section>
        <section class="setting"><h2>"Pause"</h2>{pause}</section>
        <section class="danger-zone">
            <h2><Draw icon=Icon::Danger size=20/>"Revoke key"</h2>
            <p>"Programs with this key stop working at once, on every server. This can't be undone. Usage still counts."</p>
            <form method="post" action=format!("{path}/revoke")><button class="danger">"Revoke key"</button></form>
        </section>
    }
}

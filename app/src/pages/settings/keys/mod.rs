//! `/settings/keys`: the user's API keys, and how programs use them.

pub mod edit;
mod fields;
pub mod pause;
mod snippets;

use super::{Saved, Tabs, is_verified};
use crate::api;
use crate::components::copy_button::CopyButton;
use crate::components::duration::{day, last_time};
use crate::components::field::FormError;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::view::api_key::{KeyUse, KeysView};
use crate::view::factors::FactorResult;
use domain::money::count;
use domain::{ApiKey, ApiKeyState, ModelName};
use fields::KeyFields;
use leptos::prelude::*;
use snippets::Snippets;
use time::OffsetDateTime;

/// Renders the page of the API keys.
#[component]
pub fn Keys() -> impl IntoView {
    view! {
        <Frame title="API keys">
            <header class="page-head split"><h1>"API keys"</h1><Tabs/></header>
            <Saved/>
            <FormError/>
            <NewSecret/>
            {loaded(api::api_key::own(), |view| view! { <Shown view/> })}
        </Frame>
    }
}

/// The secret of the key that was just created. Renders nothing on all other pages.
#[component]
fn NewSecret() -> impl IntoView {
    let Some(FactorResult::ApiKey { name, secret }) = page_context().factor else { return ().into_any() };
    view! {
        <section class="panel new-key">
            <h2>{format!("Copy the key \"{name}\" now")}</h2>
            <p>"It is shown only once. Store it where your programs keep secrets, not in code or in a URL."</p>
            <p class="secret"><code class="key" id="new-key">{secret}</code><CopyButton of="new-key" what="the API key"/></p>
            <p><a class="button" href="/settings/keys">"I've saved it"</a></p>
        </section>
    }
    .into_any()
}

#[component]
fn Shown(view: KeysView) -> impl IntoView {
    let KeysView { now, keys, allowed, models, is_recent, shows_cost } = view;
    let working = keys.iter().filter(|(key, _)| key.state(now) != ApiKeyState::Expired).count();
    let has_room = u32::try_from(working).is_ok_and(|working| working < allowed);
    let default_model = models.first().cloned();
    let list = match keys.is_empty() {
        true => view! { <p class="hint">"You have no API keys yet."</p> }.into_any(),
        false => {
            let rows = keys.into_iter().map(|(key, used)| key_row(key, used, shows_cost, now)).collect_view();
            view! { <ul class="entries">{rows}</ul> }.into_any()
        }
    };
    let allowance = match allowed {
        0 => "Your plan doesn't include API keys.".to_owned(),
        allowed => format!("Your plan allows {}.", count(allowed.into(), "API key", "API keys")),
    };
    view! {
        <section class="setting">
            <h2>"Your keys"</h2>
            <div class="stack">
                <p class="hint">{format!("Programs that use a key call the models on your behalf, within your plan's limits and budget. {allowance}")}</p>
                {list}
            </div>
        </section>
        <Create models allowed has_room is_recent/>
        <Snippets model=default_model/>
    }
}

/// Describes a key that doesn't work now; `None` if it works.
fn inactive_reason(key: &ApiKey, now: OffsetDateTime) -> Option<String> {
    match key.state(now) {
        ApiKeyState::Active => None,
        ApiKeyState::Tripped => {
            let what = key.trip.map_or("is in a loop", |(_, reason)| reason.describe());
            Some(format!("Refused for a few minutes: it {what}."))
        }
        ApiKeyState::Paused => Some("Paused.".to_owned()),
        ApiKeyState::Expired => Some("Expired.".to_owned()),
        ApiKeyState::Revoked => Some("Revoked.".to_owned()),
    }
}

fn key_row(key: ApiKey, used: KeyUse, shows_cost: bool, now: OffsetDateTime) -> impl IntoView {
    let last = match key.last_used_at {
        Some(at) => format!("Last used {}.", last_time(now, at)),
        None => "Not used yet.".to_owned(),
    };
    let ends = key.expires_at.map(|at| format!(" Expires on {}.", day(at))).unwrap_or_default();
    let cost = if shows_cost { format!(", {}", used.cost) } else { String::new() };
    let usage = (used.requests > 0).then(|| {
        let calls = count(used.requests, "call", "calls");
        view! { <p class="hint">{format!("Last 30 days: {calls}, {} tokens{cost}.", used.tokens)}</p> }
    });
    let (path, name) = (format!("/settings/keys/{}", key.id), key.name.clone());
    let stopped = inactive_reason(&key, now).map(|text| view! { <p><Draw icon=Icon::Alert/><span>{text}</span></p> });
    let resume = matches!(key.state(now), ApiKeyState::Paused | ApiKeyState::Tripped).then(|| {
        view! {
            <form method="post" action=format!("{path}/resume")>
                <button class="secondary small">"Resume"<span class="unseen">{format!(" the key {name}")}</span></button>
            </form>
        }
    });
    view! {
        <li>
            <div>
                <p><strong class="long">{key.name.clone()}</strong><code>{format!("{}…", key.prefix)}</code></p>
                {stopped}
                <p class="hint">{format!("Created on {}. {last}{ends}", day(key.created_at))}</p>
                {usage}
            </div>
            <div class="key-actions">
                {resume}
                <a class="button secondary small" href=path>"Edit"<span class="unseen">{format!(" the key {}", key.name)}</span></a>
            </div>
        </li>
    }
}

/// The form of a new key, or what is needed before one can be created.
#[component]
fn Create(models: Vec<ModelName>, allowed: u32, has_room: bool, is_recent: bool) -> impl IntoView {
    let body = if !is_verified() {
        view! { <p class="hint"><a href="/verify">"Confirm your email address"</a>" before you create an API key."</p> }
            .into_any()
    } else if allowed == 0 {
        view! { <p class="hint">"Your plan doesn't include API keys. "<a href="/pricing">"See larger plans"</a></p> }
            .into_any()
    } else if !has_room {
        view! { <p class="hint">"You've reached your plan's limit of API keys. Revoke one, or "<a href="/pricing">"see larger plans"</a>"."</p> }
            .into_any()
    } else if !is_recent {
        view! {
            <div class="stack">
                <p class="hint">"A key works without your password, so confirm that it's you first."</p>
                <p><a class="button secondary" href="/sign-in/confirm?next=/settings/keys">"Confirm it's you"</a></p>
            </div>
        }
        .into_any()
    } else {
        view! {
            <form method="post" action="/settings/keys" class="stack">
                <KeyFields models/>
                <button>"Create key"</button>
            </form>
        }
        .into_any()
    };
    view! { <section class="setting"><h2>"New key"</h2>{body}</section> }
}

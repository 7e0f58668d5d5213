//! The viewer's settings pages.

pub mod billing;
pub mod chat;
pub mod data;
mod factors;
mod identities;
pub mod import;
pub mod keys;
mod password;
pub mod profile;
pub mod recovery;
pub mod security;
pub mod shares;
pub mod totp;

use crate::components::icon::{Draw, Icon};
use crate::page_context::page_context;
use leptos::prelude::*;

/// Tabs that link the settings pages.
#[component]
fn Tabs() -> impl IntoView {
    // Shared links and imports are reached from the page with the data.
    let here = match page_context().path.as_str() {
        "/settings/shares" | "/settings/import" => "/settings/data".to_owned(),
        path => path.to_owned(),
    };
    let link = |path: &'static str, label: &'static str| {
        view! { <a href=path aria-current=(here == path).then_some("page")>{label}</a> }
    };
    view! {
        <nav class="tabs" aria-label="Settings">
            {link("/settings", "Profile")}{link("/settings/chat", "Chat")}{link("/settings/security", "Security")}{link("/settings/keys", "API keys")}
            {link("/settings/billing", "Billing")}{link("/settings/data", "Data")}
        </nav>
    }
}

/// Returns whether the viewer's address is confirmed. Until then, no way to sign in can be added.
fn is_verified() -> bool {
    page_context().viewer.is_some_and(|viewer| viewer.is_verified)
}

/// Takes the place of what adds a way to sign in, until the viewer's address is confirmed.
#[component]
fn ConfirmFirst() -> impl IntoView {
    view! { <p class="hint"><a href="/verify">"Confirm your email address"</a>" before you add a sign-in method."</p> }
}

/// Confirms the change that the query parameter `saved` names. Renders nothing without it.
#[component]
fn Saved() -> impl IntoView {
    let sentence = page_context().query("saved").and_then(|what| saved(&what));
    sentence.map(|sentence| view! { <p class="done" role="status"><Draw icon=Icon::Check/>{sentence}</p> })
}

fn saved(what: &str) -> Option<&'static str> {
    Some(match what {
        "instructions" => "Your instructions were saved. They apply from your next message.",
        "preset" => "The preset was saved.",
        "preset-removed" => "The preset was deleted.",
        "name" => "Your name was changed.",
        "zone" => "Your time zone was changed.",
        "email" => "We sent a link to the new address. Open it to finish the change.",
        "connected" => "The account was connected. You can sign in with it from now on.",
        "disconnected" => "The account was disconnected.",
        "password" => "Your password was changed. All other sessions were ended.",
        "passkey" => "The passkey was added. All other sessions were ended.",
        "passkey-name" => "The passkey was renamed.",
        "passkey-removed" => "The passkey was removed.",
        "password-removed" => "Your password was removed.",
        "totp-removed" => "The authenticator app and the recovery codes were removed.",
        "revoked" => "The link was revoked. It no longer works.",
        "session" => "The session was ended.",
        "sessions" => "All other sessions were ended.",
        "key" => "The API key was saved. The change applies to its next call.",
        "key-paused" => "The API key is paused. Its calls are refused until you resume it.",
        "key-resumed" => "The API key works again.",
        "key-revoked" => "The API key was revoked. It no longer works on any server.",
        _ => return None,
    })
}

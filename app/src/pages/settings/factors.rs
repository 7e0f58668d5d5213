//! The sections of `/settings/security` about passkeys, the authenticator app and recovery codes.

use super::{ConfirmFirst, is_verified};
use crate::components::duration::{day, last_time};
use crate::components::passkey_button::PasskeyButton;
use crate::page_context::page_context;
use crate::view::factors::{FactorsView, PasskeyView};
use leptos::prelude::*;
use time::OffsetDateTime;

/// Renders the sections.
#[component]
pub fn Factors(factors: FactorsView, now: OffsetDateTime) -> impl IntoView {
    let FactorsView { has_totp, recovery_codes, passkeys, .. } = factors;
    view! {
        <Passkeys passkeys now/>
        <section class="setting">
            <h2>"Authenticator app"</h2>
            {match has_totp {
                true => view! { <WithApp/> }.into_any(),
                false => view! { <WithoutApp/> }.into_any(),
            }}
        </section>
        {has_totp.then(|| view! { <Codes left=recovery_codes/> })}
    }
}

/// The note for users who need a second factor to open a page, as the parameter `required` says.
#[component]
pub fn Required() -> impl IntoView {
    page_context().query("required").map(|_| {
        view! { <p class="note" role="status">"You need a second factor to continue. Add a passkey or an authenticator app."</p> }
    })
}

#[component]
fn Passkeys(passkeys: Vec<PasskeyView>, now: OffsetDateTime) -> impl IntoView {
    let has_passkeys = page_context().has_passkeys;
    let rows = passkeys.into_iter().map(|passkey| passkey_row(passkey, now)).collect_view();
    let add = match is_verified() {
        true => view! {
            <PasskeyButton ceremony="/settings/passkeys" label="Add a passkey" is_new=true/>
            <noscript><p class="hint">"Adding a passkey needs JavaScript."</p></noscript>
        }
        .into_any(),
        false => view! { <ConfirmFirst/> }.into_any(),
    };
    has_passkeys.then(|| {
        view! {
            <section class="setting">
                <h2>"Passkeys"</h2>
                <div class="stack">
                    <p class="hint">"Sign in with your fingerprint, face or screen lock instead of a password."</p>
                    <ul class="entries">{rows}</ul>
                    {add}
                </div>
            </section>
        }
    })
}

fn passkey_row(passkey: PasskeyView, now: OffsetDateTime) -> impl IntoView {
    let PasskeyView { passkey_id, name, created_at, last_used_at } = passkey;
    let used = match last_used_at {
        Some(at) => format!("Last used {}.", last_time(now, at)),
        None => "Not used yet.".to_owned(),
    };
    let (field, path) = (format!("name-{passkey_id}"), format!("/settings/passkeys/{passkey_id}"));
    view! {
        <li>
            <div>
                <p><strong class="long">{name.clone()}</strong></p>
                <p class="hint">{format!("Added on {}. {used}", day(created_at))}</p>
                <details>
                    <summary>"Rename"<span class="unseen">{format!(" the passkey {name}")}</span></summary>
                    <form method="post" action=format!("{path}/rename") class="inline">
                        <label class="unseen" for=field.clone()>"Name"</label>
                        <input id=field name="name" type="text" maxlength="60" required autocomplete="off" value=name.clone()/>
                        <button class="secondary small">"Save"</button>
                    </form>
                </details>
            </div>
            <form method="post" action=format!("{path}/remove")>
                <button class="secondary small">"Remove"<span class="unseen">{format!(" the passkey {name}")}</span></button>
            </form>
        </li>
    }
}

#[component]
fn WithoutApp() -> impl IntoView {
    let set_up = match is_verified() {
        true => view! { <p><a class="button secondary" href="/settings/security/totp">"Set up an authenticator app"</a></p> }
            .into_any(),
        false => view! { <ConfirmFirst/> }.into_any(),
    };
    view! {
        <div class="stack">
            <p class="hint">"After your password or a connected account, you also enter a code from an app on your phone to sign in."</p>
            {set_up}
        </div>
    }
}

#[component]
fn WithApp() -> impl IntoView {
    view! {
        <form method="post" action="/settings/security/totp/remove" class="stack">
            <p>"On. You enter a code from your app when you sign in or reset your password by email."</p>
            <button class="secondary">"Remove authenticator app"</button>
        </form>
    }
}

#[component]
fn Codes(left: i64) -> impl IntoView {
    let sentence = match left {
        0 => "No codes are left. Create new ones, so that you can sign in if you lose your app.".to_owned(),
        1 => "1 code is left.".to_owned(),
        left => format!("{left} codes are left."),
    };
    view! {
        <section class="setting">
            <h2>"Recovery codes"</h2>
            <div class="stack">
                <p>{sentence}</p>
                <p><a class="button secondary" href="/settings/security/recovery">"Create new codes"</a></p>
            </div>
        </section>
    }
}

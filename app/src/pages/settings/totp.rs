//! `/settings/security/totp`: sets up an authenticator app. Its secret is only in responses to this page's own requests.

use crate::components::field::{Field, FormError};
use crate::components::frame::Frame;
use crate::page_context::page_context;
use crate::view::factors::{FactorResult, QrCode, TotpSetup};
use leptos::prelude::*;

/// Modules of the light margin around a QR code, as the standard requires.
const MARGIN: usize = 4;

/// Renders the page that sets up an authenticator app.
#[component]
pub fn Totp() -> impl IntoView {
    let setup = match page_context().factor {
        Some(FactorResult::Totp(setup)) => Some(setup),
        _ => None,
    };
    view! {
        <Frame title="Authenticator app">
            <header class="page-head"><h1>"Set up an authenticator app"</h1></header>
            <FormError/>
            {setup.map(|setup| view! { <Steps setup/> })}
            <p><a href="/settings/security">"Back to Security"</a></p>
        </Frame>
    }
}

#[component]
fn Steps(setup: TotpSetup) -> impl IntoView {
    let TotpSetup { secret, qr } = setup;
    view! {
        <section class="setting">
            <h2>"1. Add the account"</h2>
            <div class="stack">
                <p>"Scan this code with an authenticator app, or a password manager that has one."</p>
                <Qr qr/>
                <p>"If you can't scan it, enter this key: "<code class="key">{secret}</code></p>
            </div>
        </section>
        <section class="setting">
            <h2>"2. Enter its code"</h2>
            <form method="post" action="/settings/security/totp" class="stack">
                <Field name="code" label="Code" kind="text" autocomplete="one-time-code" hint="The 6 digits that the app shows now."/>
                <button>"Turn on"</button>
            </form>
        </section>
    }
}

#[component]
fn Qr(qr: QrCode) -> impl IntoView {
    let QrCode { size, path } = qr;
    let side = size + 2 * MARGIN;
    let view_box = format!("-{MARGIN} -{MARGIN} {side} {side}");
    view! {
        <svg class="qr" viewBox=view_box role="img" aria-label="QR code with the key of your account" shape-rendering="crispEdges">
            <path d=path/>
        </svg>
    }
}

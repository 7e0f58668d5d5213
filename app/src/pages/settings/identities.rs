//! The sections of `/settings/security` about how the user signs in: the password, and accounts at other services. Also the field for the
//! current password in the forms of other settings.

use crate::api;
use crate::components::duration::day;
use crate::components::field::PasswordField;
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::pages::sign_up::PASSWORD_HINT;
use crate::view::identity::{Connection, ProviderButton, WaysIn};
use leptos::prelude::*;

/// The sections about how the user signs in.
#[component]
pub fn WaysInSections(
    /// How the user can sign in.
    ways: WaysIn,
) -> impl IntoView {
    let WaysIn { has_password, is_recent, connections } = ways;
    view! {
        <section class="setting">
            <h2>"Password"</h2>
            {password(has_password, is_recent)}
        </section>
        {(!connections.is_empty()).then(|| view! { <Connections connections/> })}
    }
}

/// The field for the current password of a form. For an account without one, another proof of identity must be recent.
#[component]
pub fn CurrentPassword() -> impl IntoView {
    let confirm = format!("/sign-in/confirm?next={}", page_context().path);
    loaded(api::identity::own(), move |ways: WaysIn| match (ways.has_password, ways.is_recent) {
        (true, _) => {
            view! { <PasswordField name="password" label="Current password" autocomplete="current-password"/> }
                .into_any()
        }
        (false, true) => ().into_any(),
        (false, false) => {
            view! { <p class="hint">"First, "<a href=confirm.clone()>"confirm that it's you"</a>"."</p> }.into_any()
        }
    })
}

/// The form that changes the password, or sets the first one. Without a password, another proof of identity must be recent.
fn password(has_password: bool, is_recent: bool) -> AnyView {
    let new_password = || view! { <PasswordField name="password" label="New password" autocomplete="new-password" hint=PASSWORD_HINT/> };
    match (has_password, is_recent) {
        (true, _) => view! {
            <form method="post" action="/settings/password" class="stack">
                <PasswordField name="current" label="Current password" autocomplete="current-password"/>
                {new_password()}
                <button>"Change password"</button>
                <p class="hint">"Ends all other sessions. "<a href="/forgot">"Forgot your password?"</a></p>
            </form>
        }
        .into_any(),
        (false, true) => view! {
            <form method="post" action="/settings/password" class="stack">
                <p>"Your account has no password."</p>
                {new_password()}
                <button>"Set password"</button>
                <p class="hint">"Ends all other sessions."</p>
            </form>
        }
        .into_any(),
        (false, false) => view! {
            <div class="stack">
                <p>"Your account has no password. To set one, confirm that it's you."</p>
                <a class="button secondary" href="/sign-in/confirm?next=/settings/security">"Confirm it's you"</a>
            </div>
        }
        .into_any(),
    }
}

#[component]
fn Connections(connections: Vec<Connection>) -> impl IntoView {
    view! {
        <section class="setting">
            <h2>"Connected accounts"</h2>
            <div class="stack">
                <p class="hint">"Accounts at other services with which you can sign in."</p>
                <ul class="entries">{connections.into_iter().map(row).collect_view()}</ul>
            </div>
        </section>
    }
}

fn row(connection: Connection) -> impl IntoView {
    let Connection { provider: ProviderButton { id, label }, connected_at, email } = connection;
    let since = connected_at.map(|at| match email {
        Some(email) => format!("{email}. Connected on {}.", day(at)),
        None => format!("Connected on {}.", day(at)),
    });
    let (action, verb) = match connected_at {
        Some(_) => ("unlink", "Disconnect"),
        None => ("link", "Connect"),
    };
    view! {
        <li>
            <div>
                <p><strong>{label.clone()}</strong></p>
                <p class="hint">{since.unwrap_or_else(|| "Not connected.".to_owned())}</p>
            </div>
            <form method="post" action=format!("/settings/identities/{id}/{action}")>
                <button class="secondary small">{verb}<span class="unseen">{format!(" {label}")}</span></button>
            </form>
        </li>
    }
}

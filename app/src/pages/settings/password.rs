//! The section of `/settings/security` about the password, and the field for the current password in the forms of other settings.

use crate::api;
use crate::components::field::PasswordField;
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::pages::sign_up::PASSWORD_HINT;
use crate::view::factors::FactorsView;
use leptos::prelude::*;

/// The section about the password.
#[component]
pub fn Password(
    /// Whether the account has one.
    has_password: bool,
    /// Whether another proof of identity is recent.
    is_recent: bool,
    /// Whether the user can sign in without it.
    is_optional: bool,
) -> impl IntoView {
    let remove = (has_password && is_optional).then(|| {
        view! {
            <form method="post" action="/settings/password/remove" class="stack">
                <p>"You have another way to sign in, so you don't need your password. You can set one again at any time."</p>
                <PasswordField name="password_to_remove" label="Password to remove" autocomplete="current-password"/>
                <button class="secondary">"Remove password"</button>
            </form>
        }
    });
    view! {
        <section class="setting">
            <h2>"Password"</h2>
            <div class="stack">
                {change(has_password, is_recent)}
                {remove}
            </div>
        </section>
    }
}

/// The form that changes the password, or sets the first one. Without a password, another proof of identity must be recent.
fn change(has_password: bool, is_recent: bool) -> AnyView {
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
            <p>"Your account has no password. To set one, confirm that it's you."</p>
            <a class="button secondary" href="/sign-in/confirm?next=/settings/security">"Confirm it's you"</a>
        }
        .into_any(),
    }
}

/// The field for the current password of a form. For an account without one, another proof of identity must be recent.
#[component]
pub fn CurrentPassword(
    /// Visible label.
    #[prop(default = "Current password")]
    label: &'static str,
) -> impl IntoView {
    let confirm = format!("/sign-in/confirm?next={}", page_context().path);
    loaded(api::security::factors(), move |factors: FactorsView| match (factors.has_password, factors.is_recent) {
        (true, _) => view! { <PasswordField name="password" label autocomplete="current-password"/> }.into_any(),
        (false, true) => ().into_any(),
        (false, false) => {
            view! { <p class="hint">"First, "<a href=confirm.clone()>"confirm that it's you"</a>"."</p> }.into_any()
        }
    })
}

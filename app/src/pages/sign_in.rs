//! `/sign-in`: an HTML form that works without wasm.

use super::sign_up::ChosenPlan;
use crate::api;
use crate::components::auth_card::{AuthCard, Divider, NextField};
use crate::components::field::{Field, FormError, PasswordField};
use crate::components::loaded::loaded;
use crate::components::passkey_button::PasskeyButton;
use crate::components::provider_button::ServiceRow;
use crate::components::terms_notice::TermsNotice;
use crate::page_context::page_context;
use crate::view::identity::ProviderButton;
use leptos::prelude::*;

/// Renders the sign-in page.
#[component]
pub fn SignIn() -> impl IntoView {
    view! {
        <AuthCard title="Sign in">
            <ChosenPlan/>
            <ExistingAccount/>
            <form method="post" action="/sign-in" class="stack">
                <FormError/>
                <NextField/>
                <Field name="email" label="Email" kind="email" autocomplete="username"/>
                <PasswordField name="password" label="Password" autocomplete="current-password"/>
                <button>"Sign in"</button>
            </form>
            <OtherWays/>
            <p class="auth-links"><a href="/forgot">"Forgot password?"</a></p>
            <p class="auth-links">"Don't have an account? " <a href=page_context().with_next("/sign-up")>"Create account"</a></p>
        </AuthCard>
    }
}

/// A passkey and the services with which anyone can sign in, divided from the form. The button for passkeys may stay hidden, so without services
/// its divider is hidden with it.
#[component]
fn OtherWays() -> impl IntoView {
    loaded(api::identity::options(), |providers: Vec<ProviderButton>| {
        let has_services = !providers.is_empty();
        view! {
            {has_services.then(|| view! { <Divider/> })}
            <PasskeyButton ceremony="/sign-in/passkey" label="Sign in with a passkey" is_divided=!has_services/>
            <ServiceRow providers is_divided=false/>
            {has_services.then(|| view! { <TermsNotice when="By creating an account with one of these"/> })}
        }
    })
}

/// Says what to do when a service sent the address of an account that it isn't connected to. `link` is the service's id, and `how` whether it
/// is connected at the next sign-in.
#[component]
fn ExistingAccount() -> impl IntoView {
    page_context().query("link").map(|id| {
        let is_kept = page_context().query("how").as_deref() == Some("kept");
        loaded(api::identity::options(), move |providers: Vec<ProviderButton>| {
            let label = providers.into_iter().find(|provider| provider.id == id).map(|provider| provider.label);
            label.map(|label| view! { <p class="note" role="status">{sentence(&label, is_kept)}</p> })
        })
    })
}

fn sentence(label: &str, is_kept: bool) -> String {
    match is_kept {
        true => format!("An account with this email exists. Sign in to it within 10 minutes to connect {label}."),
        false => {
            format!("An account with this email exists. Sign in to it, then connect {label} under Settings, Security.")
        }
    }
}

//! The button that uses or adds a passkey.

use super::auth_card::Divider;
use crate::page_context::page_context;
use leptos::prelude::*;

/// A button that calls the browser for a passkey. `public/passkey.js` makes it work and shows it where the browser supports passkeys;
/// without JavaScript it stays hidden. Renders nothing in a deployment without passkeys.
#[component]
pub fn PasskeyButton(
    /// Path of the ceremony, without `/begin` and `/finish`.
    ceremony: &'static str,
    /// Text of the button.
    label: &'static str,
    /// Whether the passkey is a new one, which gets a name.
    #[prop(default = false)]
    is_new: bool,
    /// Whether a form is above, from which the button is divided.
    #[prop(default = false)]
    is_divided: bool,
) -> impl IntoView {
    let context = page_context();
    context.has_passkeys.then(|| {
        let next = context.return_path();
        let name = is_new.then(|| {
            view! {
                <div class="field">
                    <label for="passkey-name">"Name"</label>
                    <input id="passkey-name" type="text" maxlength="60" autocomplete="off" aria-describedby="passkey-name-note"/>
                    <p class="hint" id="passkey-name-note">"A name to recognize this passkey by, such as \"Laptop\"."</p>
                </div>
            }
        });
        view! {
            <div class="passkey" data-passkey=ceremony data-new=is_new.then_some("") data-next=next hidden>
                {is_divided.then(|| view! { <Divider/> })}
                {name}
                <button type="button" class="secondary">{label}</button>
                <p class="form-error" role="alert" hidden></p>
            </div>
            <script type="module" src="/passkey.js" nonce=use_nonce()/>
        }
    })
}

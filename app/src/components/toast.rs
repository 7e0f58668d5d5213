//! A notice at the bottom of the page about a limit that is nearly reached.

use super::icon::{Draw, Icon};
use leptos::prelude::*;

/// One toast at a time; announced politely, and gone when its owner empties it.
#[component]
pub fn Toast(
    /// What it says; none hides it.
    #[prop(into)]
    text: Signal<Option<String>>,
    /// Pressed Close.
    #[prop(into)]
    on_close: Callback<()>,
    /// The pointer came or went: while it stays, the toast does too.
    #[prop(into)]
    on_hover: Callback<bool>,
) -> impl IntoView {
    view! {
        <div class="toast-place" role="status" aria-live="polite">
            {move || {
                text.get().map(|text| view! {
                    <div class="toast" on:mouseenter=move |_| on_hover.run(true) on:mouseleave=move |_| on_hover.run(false)>
                        <Draw icon=Icon::Alert/>
                        <span>{text}</span>
                        <button type="button" class="quiet small" aria-label="Close" on:click=move |_| on_close.run(())><Draw icon=Icon::Close/></button>
                    </div>
                })
            }}
        </div>
    }
}

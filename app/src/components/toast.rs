//! A notice at the bottom of the page about a limit that is nearly reached.

use super::icon::{Draw, Icon};
use leptos::prelude::*;

/// Shows one toast at a time, announced politely to screen readers. The parent hides it by setting `text` to `None`.
#[component]
pub fn Toast(
    /// Text to show; `None` hides the toast.
    #[prop(into)]
    text: Signal<Option<String>>,
    /// Called when the user presses Close.
    #[prop(into)]
    on_close: Callback<()>,
    /// Called with `true` when the pointer enters and `false` when it leaves, so that the parent can keep the toast open.
    #[prop(into)]
    on_hover: Callback<bool>,
) -> impl IntoView {
    view! {
        <div class="toast-region" role="status" aria-live="polite">
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

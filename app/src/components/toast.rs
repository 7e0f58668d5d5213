//! A notice at the bottom of the page about a limit that is nearly reached.

use super::icon::{Draw, Icon};
use leptos::prelude::*;

/// The place of the toast, of which there is one at a time, announced politely to screen readers. The island fills, shows and hides it.
#[component]
pub fn Toast() -> impl IntoView {
    view! {
        <div class="toast-region" role="status" aria-live="polite" translate="no">
            <div id="toast" class="toast" hidden=true>
                <Draw icon=Icon::Alert/>
                <span data-slot="text"></span>
                <button type="button" class="quiet small" data-slot="close" aria-label="Close"><Draw icon=Icon::Close/></button>
            </div>
        </div>
    }
}

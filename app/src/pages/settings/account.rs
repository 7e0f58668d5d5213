//! `/settings`: who you are here, and the way out.

use super::Tabs;
use crate::components::field::{Field, FormError};
use crate::components::frame::Frame;
use crate::visit::visit;
use leptos::prelude::*;

/// The page.
#[component]
pub fn Account() -> impl IntoView {
    let shown = visit().viewer.map(|viewer| {
        view! {
            <dl class="facts">
                <div><dt>"Email"</dt><dd class="long">{viewer.email.clone()}</dd></div>
                <div><dt>"Name"</dt><dd>{viewer.display_name().to_owned()}</dd></div>
                <div><dt>"Plan"</dt><dd>{viewer.plan.name.clone()}</dd></div>
            </dl>
        }
    });
    let failed = !visit().form.errors.is_empty();
    view! {
        <Frame title="Settings">
            <header class="page-head split"><h1>"Settings"</h1><Tabs/></header>
            {shown}
            <section class="section-small">
                <h2>"Delete the account"</h2>
                <p>"Your conversations go at once and can't be brought back. A subscription is cancelled now, without a refund. What you used stays in the books, without your name."</p>
                <details open=failed>
                    <summary class="quiet">"Delete it"</summary>
                    <form method="post" action="/settings/delete" class="stack confirm">
                        <FormError/>
                        <Field name="password" label="Your password, to confirm" kind="password" autocomplete="current-password"/>
                        <button class="danger">"Delete my account for good"</button>
                    </form>
                </details>
            </section>
        </Frame>
    }
}

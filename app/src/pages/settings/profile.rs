//! `/settings`: account details and account deletion.

use super::Tabs;
use crate::components::field::{Field, FormError};
use crate::components::frame::Frame;
use crate::page_context::page_context;
use leptos::prelude::*;

/// Renders the account settings page.
#[component]
pub fn Account() -> impl IntoView {
    let shown = page_context().viewer.map(|viewer| {
        view! {
            <dl class="facts">
                <div><dt>"Email"</dt><dd class="long">{viewer.email.clone()}</dd></div>
                <div><dt>"Name"</dt><dd>{viewer.display_name().to_owned()}</dd></div>
                <div><dt>"Plan"</dt><dd>{viewer.plan.name.clone()}</dd></div>
            </dl>
        }
    });
    let failed = !page_context().form.errors.is_empty();
    view! {
        <Frame title="Settings">
            <header class="page-head split"><h1>"Settings"</h1><Tabs/></header>
            {shown}
            <section class="section-small">
                <h2>"Delete account"</h2>
                <p>"Your conversations are deleted immediately and can't be restored. A subscription is cancelled without a refund. Usage records are kept for accounting, without your name."</p>
                <details open=failed>
                    <summary class="quiet">"Delete account"</summary>
                    <form method="post" action="/settings/delete" class="stack confirm">
                        <FormError/>
                        <Field name="password" label="Confirm with your password" kind="password" autocomplete="current-password"/>
                        <button class="danger">"Permanently delete my account"</button>
                    </form>
                </details>
            </section>
        </Frame>
    }
}

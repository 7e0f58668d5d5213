//! `/admin/models`: models, prices, caps, and the global switches.

mod calls;
mod feedback;
mod global;
mod head;
mod import;
mod prices;
mod rules;
mod states;

use crate::api;
use crate::components::field::FormError;
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::pages::admin::model_test::TestPanel;
use crate::pages::admin::{AdminTabs, Saved};
use crate::view::admin::ModelsView;
use crate::view::provider::FormResult;
use calls::CallTable;
use feedback::FeedbackTable;
use global::global;
use import::{Differences, ImportForm};
use leptos::prelude::*;
use prices::PriceTable;
use rules::RuleTable;
use states::StateTable;

/// Renders the models page.
#[component]
pub fn Models() -> impl IntoView {
    view! {
        <Frame title="Models" wide=true>
            <header class="page-head split">
                <h1>"Models"</h1>
                <AdminTabs current="/admin/models"/>
            </header>
            {loaded(api::admin::models(), |view| view! { <Shown view/> })}
        </Frame>
    }
}

#[component]
fn Shown(view: ModelsView) -> impl IntoView {
    let result = match page_context().result {
        Some(FormResult::Test(test)) => view! { <TestPanel test/> }.into_any(),
        Some(FormResult::Import(import)) => view! { <Differences import/> }.into_any(),
        Some(FormResult::Share(_)) | None => ().into_any(),
    };
    let global = global(&view);
    let ModelsView { models, comments, today, .. } = view;
    view! {
        <FormError/>
        <Saved sentence="Saved. Changes apply from the next message."/>
        {result}
        {global}
        <StateTable models=models.clone() today/>
        <FeedbackTable models=models.clone() comments/>
        <RuleTable models=models.clone()/>
        <PriceTable models=models.clone()/>
        <CallTable models/>
        <ImportForm/>
    }
}

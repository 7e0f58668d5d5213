//! `/pricing`: the plan table, as people read it.

use crate::api;
use crate::api::plan::Offer;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::visit::visit;
use leptos::prelude::*;

/// The page.
#[component]
pub fn Pricing() -> impl IntoView {
    view! {
        <Frame title="Pricing">
            <header class="page-head">
                <h1>"Plans"</h1>
                <p>"Requests keep it fair by the minute; tokens are what it costs, so they are what a plan holds. Both windows slide: nothing resets at midnight, what you used returns 24 hours after you used it."</p>
            </header>
            {loaded(api::plan::list(), |offers| view! { <Offers offers/> })}
            <p class="aside">"A token is about four characters of English. Words you send and words you get back both count, and so does the conversation so far, each turn."</p>
        </Frame>
    }
}

/// The plans side by side.
#[component]
pub fn Offers(
    /// Smallest first.
    offers: Vec<Offer>,
) -> impl IntoView {
    let viewer = visit().viewer;
    let meant = visit().query("plan");
    let cards = offers
        .into_iter()
        .map(|Offer { plan, models }| {
            let mine = viewer.as_ref().is_some_and(|viewer| viewer.plan.id == plan.id);
            let is_meant = meant.as_deref() == Some(plan.id.0.as_str());
            let action = match &viewer {
                None if plan.monthly_cents == 0 => {
                    view! { <a class="button" href="/sign-up">"Start free"</a> }.into_any()
                }
                None => {
                    view! { <a class="button secondary" href="/sign-up">"Start free, upgrade later"</a> }.into_any()
                }
                Some(_) if mine => view! { <p class="mine"><Draw icon=Icon::Check/>"Your plan"</p> }.into_any(),
                Some(viewer) if plan.sort > viewer.plan.sort => {
                    let subject = format!("mailto:{}?subject=Plan%20{}", domain::brand::SUPPORT_EMAIL, plan.id);
                    view! { <a class="button" href=subject>{format!("Ask for {}", plan.name)}</a> }.into_any()
                }
                Some(_) => ().into_any(),
            };
            let price = plan.monthly_price();
            view! {
                <li class="plan" class:meant=is_meant id=plan.id.0.clone()>
                    <h2>{plan.name.clone()}</h2>
                    <p class="price"><strong>{price}</strong>" a month"</p>
                    <p>{plan.pitch.clone()}</p>
                    <dl>
                        <div><dt>"Tokens in any 24 hours"</dt><dd>{plan.tokens_per_day.to_string()}</dd></div>
                        <div><dt>"Requests in any minute"</dt><dd>{plan.requests_per_minute}</dd></div>
                        <div><dt>"Answers at once"</dt><dd>{plan.in_flight}</dd></div>
                        <div><dt>"Longest answer, tokens"</dt><dd>{plan.max_output.to_string()}</dd></div>
                    </dl>
                    <p class="models">{models.join(", ")}</p>
                    {action}
                </li>
            }
        })
        .collect_view();
    view! { <ul class="plans">{cards}</ul> }
}

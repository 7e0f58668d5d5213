//! `/pricing`: the plans, with forms and links that lead to checkout and work without wasm.

use super::settings::billing::Connection;
use crate::api;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::json_ld::{JsonLd, plans};
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::view::billing::Payments;
use crate::view::plan::{PlanCatalog, PlanOffer};
use domain::{Amount, Period, Plan, Viewer};
use leptos::prelude::*;

/// Renders the pricing page.
#[component]
pub fn Pricing() -> impl IntoView {
    view! {
        <Frame title="Pricing">
            <header class="page-head">
                <h1>"Plans"</h1>
                <p>"Each plan limits requests per minute and tokens per day. Tokens become available again 24 hours after you use them; nothing resets at midnight."</p>
            </header>
            {loaded(api::plan::catalog(), |shop| view! { <JsonLd value=plans(&shop.offers)/> <Periods shop=shop.clone()/> <Connection payments=shop.payments/> <Offers shop/> })}
            <p class="aside">"A token is about four characters of English text. Each message uses tokens for its text, the conversation so far and the response. A new plan applies from your next message and doesn't reset your usage."</p>
        </Frame>
    }
}

fn period() -> Period {
    let requested = page_context().query("interval").and_then(|text| text.parse().ok());
    requested.filter(|period| *period != Period::Other).unwrap_or_default()
}

/// Tabs for monthly and yearly prices. Renders nothing if no plan is sold yearly.
#[component]
fn Periods(shop: PlanCatalog) -> impl IntoView {
    let by_year = shop.offers.iter().any(|offer| offer.plan.yearly_cents > 0);
    let meant = page_context().query("plan").filter(|plan| shop.offers.iter().any(|offer| offer.plan.id.0 == *plan));
    let meant = meant.map(|plan| format!("&plan={plan}")).unwrap_or_default();
    let tab = move |choice: Period, label: &'static str| {
        let href = format!("/pricing?interval={}{meant}", choice.as_str());
        view! { <a href=href aria-current=(choice == period()).then_some("page")>{label}</a> }
    };
    by_year.then(|| {
        view! { <nav class="tabs periods" aria-label="Billing period">{tab(Period::Month, "Monthly")}{tab(Period::Year, "Yearly")}</nav> }
    })
}

/// The plans, side by side.
#[component]
pub fn Offers(
    /// The plans, with the viewer's relation to them.
    shop: PlanCatalog,
) -> impl IntoView {
    let meant = page_context().query("plan");
    let cards = shop.offers.iter().map(|offer| card(offer, &shop, meant.as_deref())).collect_view();
    view! { <ul class="plans">{cards}</ul> }
}

fn card(PlanOffer { plan, models }: &PlanOffer, shop: &PlanCatalog, meant: Option<&str>) -> impl IntoView + use<> {
    // A plan that isn't sold yearly is shown with its monthly price.
    let chosen = if plan.price(period()).is_some() { period() } else { Period::Month };
    let price = plan.price(chosen).unwrap_or_else(|| Amount { minor: 0, currency: plan.currency.clone() });
    let every = if chosen == Period::Year { " a year" } else { " a month" };
    let saved = match (chosen, plan.price(Period::Month)) {
        (Period::Year, Some(month)) => month.minor.saturating_mul(12).saturating_sub(price.minor),
        _ => 0,
    };
    let saved = (saved > 0).then(|| {
        let saved = Amount { minor: saved, currency: plan.currency.clone() };
        view! { <span class="saved">{format!("Save {saved} a year")}</span> }
    });
    let is_meant = meant == Some(plan.id.0.as_str());
    view! {
        <li class="plan" class:meant=is_meant id=plan.id.0.clone()>
            <h2>{plan.name.clone()}</h2>
            <p class="price"><strong>{price.to_string()}</strong>{every}{saved}</p>
            <p>{plan.pitch.clone()}</p>
            <dl>
                <div><dt>"Tokens per day"</dt><dd>{plan.tokens_per_day.to_string()}</dd></div>
                <div><dt>"Requests per minute"</dt><dd>{plan.requests_per_minute}</dd></div>
                <div><dt>"Responses at once"</dt><dd>{plan.in_flight}</dd></div>
                <div><dt>"Tokens per response"</dt><dd>{plan.max_output.to_string()}</dd></div>
            </dl>
            {(!models.is_empty()).then(|| view! { <p class="models">{models.join(", ")}</p> })}
            {action(plan, chosen, shop)}
        </li>
    }
}

/// Renders the action that the visitor can take on a plan: sign up, switch, cancel, or contact the owner.
fn action(plan: &Plan, chosen: Period, shop: &PlanCatalog) -> AnyView {
    let trial = (plan.trial_days > 0 && shop.trial_available && shop.current_subscription.is_none())
        .then(|| format!("Start {}-day free trial", plan.trial_days));
    let Some(viewer) = page_context().viewer else {
        if plan.is_free() {
            return view! { <a class="button" href="/sign-up">"Start free"</a> }.into_any();
        }
        if shop.payments == Payments::NotConnected {
            return view! { <a class="button secondary" href="/sign-up">"Start free, upgrade later"</a> }.into_any();
        }
        let next = format!("/sign-up?next=%2Fpricing%3Fplan%3D{}%26interval%3D{}", plan.id, chosen.as_str());
        let label = trial.unwrap_or_else(|| format!("Start with {}", plan.name));
        return view! { <a class="button secondary" href=next>{label}</a> }.into_any();
    };
    let pays_this =
        shop.current_subscription.as_ref().is_some_and(|(paid, period)| *paid == plan.id && *period == chosen);
    let is_theirs = viewer.plan.id == plan.id;
    if pays_this || (is_theirs && (plan.is_free() || shop.payments == Payments::NotConnected)) {
        return view! { <p class="mine"><Draw icon=Icon::Check/>"Your plan"</p> }.into_any();
    }
    if plan.is_free() {
        let pays = shop.current_subscription.is_some() && shop.payments != Payments::NotConnected;
        return pays
            .then(|| view! { <a class="button secondary" href="/settings/billing">"Cancel subscription"</a> })
            .into_any();
    }
    if shop.payments == Payments::NotConnected || plan.price_id(chosen).is_none() {
        return contact_link(plan, &viewer);
    }
    let label = trial.unwrap_or_else(|| label(plan, chosen, shop, &viewer));
    let is_up = plan.sort >= viewer.plan.sort;
    view! {
        <form method="post" action="/billing/checkout">
            <input type="hidden" name="plan" value=plan.id.0.clone()/>
            <input type="hidden" name="interval" value=chosen.as_str()/>
            <button class:secondary=!is_up>{label}</button>
        </form>
    }
    .into_any()
}

fn label(plan: &Plan, chosen: Period, shop: &PlanCatalog, viewer: &Viewer) -> String {
    match &shop.current_subscription {
        Some((paid, _)) if *paid == plan.id && chosen == Period::Year => "Switch to yearly".to_owned(),
        Some((paid, _)) if *paid == plan.id => "Switch to monthly".to_owned(),
        Some(_) if plan.sort < viewer.plan.sort => format!("Downgrade to {}", plan.name),
        _ => format!("Upgrade to {}", plan.name),
    }
}

/// Renders a link to contact the owner, who can grant a plan that can't be bought. Renders nothing unless the plan is larger.
fn contact_link(plan: &Plan, viewer: &Viewer) -> AnyView {
    let is_larger = plan.sort > viewer.plan.sort;
    let href = format!("mailto:{}?subject=Plan%20{}", domain::brand::SUPPORT_EMAIL, plan.id);
    is_larger.then(|| view! { <a class="button" href=href>{format!("Contact us about {}", plan.name)}</a> }).into_any()
}

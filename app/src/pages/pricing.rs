//! `/pricing`: the plans, with forms and links that lead to checkout and work without wasm.

use super::settings::billing::Connection;
use crate::api;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::json_ld::{JsonLd, plans};
use crate::components::loaded::loaded;
use crate::page_context::{page_context, plan_path, returning_to};
use crate::view::billing::Payments;
use crate::view::plan::{PlanCatalog, PlanOffer};
use domain::{Amount, Period, Plan, Viewer, brand};
use leptos::prelude::*;

/// Renders the pricing page.
#[component]
pub fn Pricing() -> impl IntoView {
    view! {
        <Frame title="Pricing">
            <header class="page-head centered">
                <h1>"Plans"</h1>
                <p>"Each plan limits requests per minute and tokens per day."</p>
            </header>
            {loaded(api::plan::catalog(), |shop| view! {
                <JsonLd value=plans(&shop.offers)/>
                <ConfirmFirst shop=shop.clone()/>
                <Periods shop=shop.clone()/>
                <Connection payments=shop.payments/>
                <Offers shop/>
            })}
            <p class="aside">"Tokens become available again 24 hours after you use them; nothing resets at midnight. A token is about four characters of English text. Each message uses tokens for its text, the conversation so far and the response. A new plan applies from your next message and doesn't reset your usage."</p>
        </Frame>
    }
}

fn period() -> Period {
    let requested = page_context().query("interval").and_then(|text| text.parse().ok());
    requested.filter(|period| *period != Period::Other).unwrap_or_default()
}

/// Returns the plan that the visitor chose before.
fn chosen_plan(shop: &PlanCatalog) -> Option<&Plan> {
    let id = page_context().query("plan")?;
    shop.offers.iter().map(|offer| &offer.plan).find(|plan| plan.id.0 == id)
}

/// Leads users who chose a plan and whose email address isn't verified to its confirmation, and back. Renders nothing for others.
#[component]
fn ConfirmFirst(shop: PlanCatalog) -> impl IntoView {
    let is_unverified = page_context().viewer.is_some_and(|viewer| !viewer.is_verified);
    chosen_plan(&shop).filter(|plan| is_unverified && !plan.is_free()).map(|plan| {
        let href = returning_to("/verify", &plan_path(&plan.id.0, period()));
        let sentence = format!("Confirm your email address, then continue with {}. ", plan.name);
        view! { <p class="note" role="status">{sentence}<a href=href>"Enter the code"</a></p> }
    })
}

/// Tabs for monthly and yearly prices. Renders nothing if no plan is sold yearly.
#[component]
fn Periods(shop: PlanCatalog) -> impl IntoView {
    let by_year = shop.offers.iter().any(|offer| offer.plan.yearly_cents > 0);
    let kept = chosen_plan(&shop).map(|plan| format!("&plan={}", plan.id)).unwrap_or_default();
    let tab = move |choice: Period, label: &'static str| {
        let href = format!("/pricing?interval={}{kept}", choice.as_str());
        view! { <a href=href aria-current=(choice == period()).then_some("page")>{label}</a> }
    };
    by_year.then(|| {
        view! { <nav class="tabs periods" aria-label="Billing period">{tab(Period::Month, "Monthly")}{tab(Period::Year, "Yearly")}</nav> }
    })
}

/// The plans, side by side. Their rows align, whichever period is shown.
#[component]
pub fn Offers(
    /// The plans, with the viewer's relation to them.
    shop: PlanCatalog,
) -> impl IntoView {
    let cards = shop.offers.iter().map(|offer| card(offer, &shop)).collect_view();
    view! { <ul class="plans">{cards}</ul> }
}

/// What distinguishes a plan from the others for this visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// The viewer's own plan.
    Current,
    /// The plan that the visitor chose before.
    Chosen,
    /// The plan that is marked "Most popular", from `brand.toml`.
    Popular,
}

impl Mark {
    fn of(plan: &Plan, shop: &PlanCatalog) -> Option<Self> {
        let viewer = page_context().viewer;
        let has_choice = chosen_plan(shop).is_some();
        match viewer {
            Some(viewer) if viewer.plan.id == plan.id => Some(Self::Current),
            _ if chosen_plan(shop) == Some(plan) => Some(Self::Chosen),
            _ if !has_choice && plan.id.0 == brand::POPULAR_PLAN => Some(Self::Popular),
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Current => "Your plan",
            Self::Chosen => "Your choice",
            Self::Popular => "Most popular",
        }
    }
}

fn card(offer: &PlanOffer, shop: &PlanCatalog) -> impl IntoView + use<> {
    let PlanOffer { plan, models, api_keys } = offer;
    // A plan that isn't sold yearly is shown with its monthly price.
    let chosen = if plan.price(period()).is_some() { period() } else { Period::Month };
    let price = plan.price(chosen).unwrap_or_else(|| Amount { minor: 0, currency: plan.currency.clone() });
    let every = if chosen == Period::Year { " a year" } else { " a month" };
    let mark = Mark::of(plan, shop);
    let is_marked = matches!(mark, Some(Mark::Chosen | Mark::Popular));
    view! {
        <li class="plan" class:marked=is_marked id=plan.id.0.clone()>
            <p class="plan-mark">{mark.map(Mark::label)}</p>
            <h2>{plan.name.clone()}</h2>
            <p class="price"><strong>{price.to_string()}</strong>{every}</p>
            <p class="saved">{saving(plan, chosen)}</p>
            <p>{plan.pitch.clone()}</p>
            <dl>
                <div><dt>"Tokens per day"</dt><dd>{plan.tokens_per_day.to_string()}</dd></div>
                <div><dt>"Requests per minute"</dt><dd>{plan.requests_per_minute}</dd></div>
                <div><dt>"Responses at once"</dt><dd>{plan.in_flight}</dd></div>
                <div><dt>"Files"</dt><dd>{domain::attachment::format_bytes(plan.storage_bytes)}</dd></div>
                <div><dt>"Tokens per response"</dt><dd>{plan.max_output.to_string()}</dd></div>
                <div><dt>"API keys"</dt><dd>{*api_keys}</dd></div>
            </dl>
            <p class="models" translate="no">{models.join(", ")}</p>
            <div class="plan-action">{action(plan, chosen, shop, is_marked)}</div>
        </li>
    }
}

/// Returns what the yearly price saves, or would save.
fn saving(plan: &Plan, chosen: Period) -> Option<String> {
    let (month, year) = (plan.price(Period::Month)?, plan.price(Period::Year)?);
    let saved = month.minor.saturating_mul(12).saturating_sub(year.minor);
    let amount = Amount { minor: saved, currency: plan.currency.clone() };
    (saved > 0).then(|| match chosen {
        Period::Year => format!("Save {amount} a year"),
        Period::Month | Period::Other => format!("or {year} a year, save {amount}"),
    })
}

/// Renders the action that the visitor can take on a plan: sign up, switch, cancel, or contact the owner. The button of a marked plan is the
/// main one.
fn action(plan: &Plan, chosen: Period, shop: &PlanCatalog, is_marked: bool) -> AnyView {
    let trial = (plan.trial_days > 0 && shop.trial_available && shop.current_subscription.is_none())
        .then(|| format!("Start {}-day free trial", plan.trial_days));
    let Some(viewer) = page_context().viewer else {
        let (href, label) = if plan.is_free() {
            ("/sign-up".to_owned(), "Start free".to_owned())
        } else if shop.payments == Payments::NotConnected {
            ("/sign-up".to_owned(), "Start free, upgrade later".to_owned())
        } else {
            // Kept through the sign-up.
            let href = format!("/sign-up?plan={}&interval={}", plan.id, chosen.as_str());
            (href, trial.unwrap_or_else(|| format!("Start with {}", plan.name)))
        };
        return view! { <a class="button" class:secondary=!is_marked href=href>{label}</a> }.into_any();
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
    view! {
        <form method="post" action="/billing/checkout">
            <input type="hidden" name="plan" value=plan.id.0.clone()/>
            <input type="hidden" name="interval" value=chosen.as_str()/>
            <button class:secondary=!is_marked>{label}</button>
        </form>
    }
    .into_any()
}

fn label(plan: &Plan, chosen: Period, shop: &PlanCatalog, viewer: &Viewer) -> String {
    match &shop.current_subscription {
        Some((paid, _)) if *paid == plan.id && chosen == Period::Year => "Switch to yearly".to_owned(),
        Some((paid, _)) if *paid == plan.id => "Switch to monthly".to_owned(),
        _ if plan.sort < viewer.plan.sort => format!("Downgrade to {}", plan.name),
        // The plan was given to them.
        _ if plan.id == viewer.plan.id => format!("Subscribe to {}", plan.name),
        _ => format!("Upgrade to {}", plan.name),
    }
}

/// Renders a link to contact the owner, who can grant a plan that can't be bought. Renders nothing unless the plan is larger.
fn contact_link(plan: &Plan, viewer: &Viewer) -> AnyView {
    let is_larger = plan.sort > viewer.plan.sort;
    let href = format!("mailto:{}?subject=Plan%20{}", brand::SUPPORT_EMAIL, plan.id);
    is_larger
        .then(|| view! { <a class="button secondary" href=href>{format!("Contact us about {}", plan.name)}</a> })
        .into_any()
}

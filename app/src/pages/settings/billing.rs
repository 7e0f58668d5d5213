//! `/settings/billing`: subscription, invoices, and remaining quota.

use super::Tabs;
use crate::api;
use crate::components::duration::local_day;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::components::meter::Meter;
use crate::page_context::page_context;
use crate::view::billing::{BillingView, Payments};
use domain::{Invoice, Subscription, SubscriptionStatus, Viewer};
use leptos::prelude::*;

/// Renders the billing settings page.
#[component]
pub fn Billing() -> impl IntoView {
    view! {
        <Frame title="Billing">
            <header class="page-head split"><h1>"Billing"</h1><Tabs/></header>
            {loaded(api::billing::own(), |billing| view! { <Shown billing/> })}
        </Frame>
    }
}

#[component]
fn Shown(billing: BillingView) -> impl IntoView {
    let Some(viewer) = page_context().viewer else { return ().into_any() };
    let has_paid = page_context().query("from").as_deref() == Some("checkout") && !viewer.plan.is_free();
    let live = billing.subscription.as_ref().filter(|subscription| subscription.status.is_live());
    let sentences = sentences(&viewer, &billing);
    let status = billing.subscription.as_ref().map(status);
    // An overdue payment is resolved in the portal, so its button comes first.
    let is_overdue = live.is_some_and(|live| live.status.is_overdue());
    let (portal_label, portal_class) = match is_overdue {
        true => ("Update card", ""),
        false => ("Manage billing", "secondary"),
    };
    let portal = (billing.payments != Payments::NotConnected && billing.subscription.is_some()).then(|| {
        view! {
            <form method="post" action="/billing/portal"><button class=portal_class>{portal_label}</button></form>
        }
    });
    let change = match live {
        Some(_) => "Change plan",
        None => "See plans",
    };
    let quota = billing.quota.clone();
    let invoices = billing.invoices.iter().map(row).collect_view();
    view! {
        {has_paid.then(|| view! {
            <p class="done" role="status"><Draw icon=Icon::Check/>{format!("You are on {}. Its limits apply from your next message.", viewer.plan.name)} <a href="/chat">"Back to the chat"</a></p>
        })}
        <Connection payments=billing.payments/>
        <section class="panel standing">
            <h2>{viewer.plan.name.clone()} {status.map(|status| view! { <span class="tag">{status}</span> })}</h2>
            {sentences.into_iter().map(|sentence| view! { <p>{sentence}</p> }).collect_view()}
            <div class="actions">
                {is_overdue.then(|| portal.clone())}
                <a class=if is_overdue { "button secondary" } else { "button" } href="/pricing">{change}</a>
                {(!is_overdue).then_some(portal)}
            </div>
        </section>
        <section class="panel">
            <h2>"Remaining"</h2>
            <Meter quota/>
            <p class="hint">"Changing plans doesn't reset your usage. " <a href="/usage">"Usage by day and model"</a></p>
        </section>
        <section>
            <h2>"Invoices"</h2>
            {if billing.invoices.is_empty() {
                view! { <p class="hint">"No invoices yet."</p> }.into_any()
            } else {
                view! {
                    <div class="table-scroll" tabindex="0" role="region" aria-label="Invoices">
                        <table class="compact numbers">
                            <thead><tr><th scope="col">"Date"</th><th scope="col">"Number"</th><th scope="col">"Status"</th><th scope="col" class="end">"Amount"</th></tr></thead>
                            <tbody>{invoices}</tbody>
                        </table>
                    </div>
                }.into_any()
            }}
        </section>
    }
    .into_any()
}

/// A notice that billing isn't set up or is in test mode. Renders nothing for Stripe.
#[component]
pub fn Connection(
    /// The configured payment provider.
    payments: Payments,
) -> impl IntoView {
    match payments {
        Payments::Stripe => ().into_any(),
        Payments::FakeProvider => {
            view! { <p class="note"><strong>"Test mode: no money moves."</strong>" Payments go to a Stripe simulator."</p> }.into_any()
        }
        Payments::NotConnected => {
            // Names of settings are for admins only.
            let is_admin = page_context().viewer.is_some_and(|viewer| viewer.is_admin);
            let what = match is_admin {
                true => " To sell plans, set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET and run `quotient plans push`.",
                false => " Plans can't be bought yet.",
            };
            view! { <p class="note"><strong>"Billing isn't set up on this server."</strong>{what}</p> }.into_any()
        }
    }
}

/// Describes the current subscription and its next change, one sentence per entry.
fn sentences(viewer: &Viewer, billing: &BillingView) -> Vec<String> {
    let mut all = Vec::new();
    let Some(found) = &billing.subscription else {
        all.push(match viewer.plan.is_free() {
            true => "Free plan".to_owned(),
            false => "This plan was given to you by the site owner. You are not charged.".to_owned(),
        });
        return all;
    };
    let paid = billing.paid_plan.clone().unwrap_or_else(|| "your subscription".to_owned());
    let price = found.price();
    let fallback = &billing.fallback;
    match (found.status, found.ends_at) {
        (SubscriptionStatus::Trialing, Some(end)) => {
            all.push(format!("Your {paid} trial ends on {} and won't renew. You then move to {fallback}.", local_day(end)));
        }
        (SubscriptionStatus::Trialing, None) => {
            let end = found.trial_end.unwrap_or(found.period_end);
            all.push(format!("Your {paid} trial ends on {}. It then renews at {price}.", local_day(end)));
        }
        (SubscriptionStatus::Active, Some(end)) => {
            all.push(format!("Cancelled. {paid} stays active until {}, then you move to {fallback}. You won't be charged again.", local_day(end)));
        }
        (SubscriptionStatus::Active, None) => {
            all.push(format!("{price}. Renews on {}.", local_day(found.period_end)));
        }
        (SubscriptionStatus::PastDue, _) => match found.grace_until {
            Some(until) if viewer.grace_until.is_some() => all.push(format!(
                "The last payment of {price} failed. {paid} stays active until {}, then you move to {fallback} until it is paid.",
                local_day(until)
            )),
            _ => all.push(format!("The payment of {price} is overdue. {paid} is restored as soon as it is paid.")),
        },
        (SubscriptionStatus::Unpaid, _) => {
            all.push(format!("The payment of {price} is overdue. {paid} is restored as soon as it is paid."));
        }
        (SubscriptionStatus::Paused, _) => all.push(format!("{paid} is paused because no card is on file.")),
        (SubscriptionStatus::Incomplete | SubscriptionStatus::IncompleteExpired, _) => {
            all.push(format!("The first payment for {paid} failed, so the subscription hasn't started."));
        }
        (SubscriptionStatus::Canceled | SubscriptionStatus::Unknown, _) => {
            let ended = found.ended_at.map(|at| format!(" on {}", local_day(at))).unwrap_or_default();
            all.push(format!("{paid} ended{ended}. You won't be charged again."));
        }
    }
    if billing.granted {
        all.push(format!("{} was given to you by the site owner.", viewer.plan.name));
    }
    all
}

fn status(found: &Subscription) -> &'static str {
    match (found.status, found.ends_at) {
        (SubscriptionStatus::Trialing, _) => "Trial",
        (SubscriptionStatus::Active, Some(_)) => "Ends soon",
        (SubscriptionStatus::Active, None) => "Active",
        (SubscriptionStatus::PastDue | SubscriptionStatus::Unpaid, _) => "Payment overdue",
        (SubscriptionStatus::Paused, _) => "Paused",
        (SubscriptionStatus::Incomplete | SubscriptionStatus::IncompleteExpired, _) => "Incomplete",
        (SubscriptionStatus::Canceled | SubscriptionStatus::Unknown, _) => "Ended",
    }
}

fn row(invoice: &Invoice) -> impl IntoView + use<> {
    let number = invoice.number.clone().unwrap_or_else(|| "Invoice".to_owned());
    // Only https URLs, and those of the local Stripe simulator, are rendered as links.
    let url = invoice.url.clone().filter(|url| url.starts_with("https://") || url.starts_with("http://127.0.0.1:"));
    let number = match url {
        Some(url) => view! { <a href=url rel="noreferrer">{number}</a> }.into_any(),
        None => number.into_any(),
    };
    let status = match invoice.status.as_str() {
        "paid" => "Paid",
        "open" => "Open",
        "void" => "Void",
        "uncollectible" => "Not paid",
        _ => "Draft",
    };
    view! {
        <tr>
            <td>{local_day(invoice.created_at)}</td>
            <td>{number}</td>
            <td>{status}</td>
            <td class="end">{invoice.due.to_string()}</td>
        </tr>
    }
}

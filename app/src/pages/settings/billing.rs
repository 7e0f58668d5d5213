//! `/settings/billing`: what is paid, until when, and what changes when.

use super::Tabs;
use crate::api;
use crate::api::billing::{BillingView, Payments};
use crate::components::duration::day;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::components::meter::Meter;
use crate::visit::visit;
use domain::{Invoice, Subscription, SubscriptionStatus, Viewer};
use leptos::prelude::*;

/// The page.
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
    let Some(viewer) = visit().viewer else { return ().into_any() };
    let has_paid = visit().query("from").as_deref() == Some("checkout") && !viewer.plan.is_free();
    let live = billing.subscription.as_ref().filter(|subscription| subscription.status.is_live());
    let sentences = sentences(&viewer, &billing);
    let status = billing.subscription.as_ref().map(status);
    // What is overdue is mended over there, so that comes first.
    let is_overdue = live.is_some_and(|live| live.status.is_overdue());
    let (portal_label, portal_class) = match is_overdue {
        true => ("Change the card", ""),
        false => ("Card, invoices, cancelling", "secondary"),
    };
    let portal = (billing.payments != Payments::NotConnected && billing.subscription.is_some()).then(|| {
        view! {
            <form method="post" action="/billing/portal"><button class=portal_class>{portal_label}</button></form>
        }
    });
    let change = match live {
        Some(_) => "Change the plan",
        None => "See the plans",
    };
    let quota = billing.quota.clone();
    let invoices = billing.invoices.iter().map(row).collect_view();
    view! {
        {has_paid.then(|| view! {
            <p class="done" role="status"><Draw icon=Icon::Check/>{format!("You are on {}. It counts from your next message on.", viewer.plan.name)} <a href="/chat">"Back to the chat"</a></p>
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
            <h2>"Left now"</h2>
            <Meter quota=Signal::stored(quota)/>
            <p class="hint">"What you used stays used when the plan changes, either way. " <a href="/usage">"Usage by day and model"</a></p>
        </section>
        <section>
            <h2>"Invoices"</h2>
            {if billing.invoices.is_empty() {
                view! { <p class="hint">"None yet. They appear here with the first payment."</p> }.into_any()
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

/// Whether anything can be bought here, where that needs saying.
#[component]
pub fn Connection(
    /// From whom.
    payments: Payments,
) -> impl IntoView {
    match payments {
        Payments::Stripe => ().into_any(),
        Payments::StandIn => {
            view! { <p class="note"><strong>"Stripe stand-in, no money moves."</strong>" This server sells nothing yet; the payment pages are for trying out."</p> }.into_any()
        }
        Payments::NotConnected => view! {
            <p class="note">
                <strong>"Billing isn't connected on this server."</strong>
                " Nothing can be bought yet. Its owner sets STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET and runs the subcommand plans push."
            </p>
        }
        .into_any(),
    }
}

/// What holds, and what changes when.
fn sentences(viewer: &Viewer, billing: &BillingView) -> Vec<String> {
    let mut all = Vec::new();
    let Some(found) = &billing.subscription else {
        all.push(match viewer.plan.is_free() {
            true => "You pay nothing.".to_owned(),
            false => "The owner of this site gave you this plan; you pay nothing.".to_owned(),
        });
        return all;
    };
    let paid = billing.paid_plan.clone().unwrap_or_else(|| "your subscription".to_owned());
    let price = found.price();
    let fallback = &billing.fallback;
    match (found.status, found.ends_at) {
        (SubscriptionStatus::Trialing, Some(end)) => {
            all.push(format!("Your trial of {paid} ends on {} and isn't continued; then you are on {fallback}.", day(end)));
        }
        (SubscriptionStatus::Trialing, None) => {
            let end = found.trial_end.unwrap_or(found.period_end);
            all.push(format!("You are trying {paid} until {}. Then it goes on at {price}.", day(end)));
        }
        (SubscriptionStatus::Active, Some(end)) => {
            all.push(format!("Cancelled: {paid} stays until {}, then you are on {fallback}. Nothing more is charged.", day(end)));
        }
        (SubscriptionStatus::Active, None) => {
            all.push(format!("{price}. Renews on {}.", day(found.period_end)));
        }
        (SubscriptionStatus::PastDue, _) => match found.grace_until {
            Some(until) if viewer.grace_until.is_some() => all.push(format!(
                "The last payment of {price} didn't go through. {paid} stays until {}; then you are on {fallback} until it is paid.",
                day(until)
            )),
            _ => all.push(format!("The payment of {price} is still open. As soon as it is paid, {paid} is back.")),
        },
        (SubscriptionStatus::Unpaid, _) => {
            all.push(format!("The payment of {price} is still open. As soon as it is paid, {paid} is back."));
        }
        (SubscriptionStatus::Paused, _) => all.push(format!("{paid} is paused: it has no card.")),
        (SubscriptionStatus::Incomplete | SubscriptionStatus::IncompleteExpired, _) => {
            all.push(format!("The first payment for {paid} didn't go through, so it hasn't begun."));
        }
        (SubscriptionStatus::Canceled | SubscriptionStatus::Unknown, _) => {
            let ended = found.ended_at.map(|at| format!(" on {}", day(at))).unwrap_or_default();
            all.push(format!("{paid} ended{ended}. Nothing more is charged."));
        }
    }
    if billing.granted {
        all.push(format!("The owner of this site gave you {}.", viewer.plan.name));
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
        (SubscriptionStatus::Incomplete | SubscriptionStatus::IncompleteExpired, _) => "Not begun",
        (SubscriptionStatus::Canceled | SubscriptionStatus::Unknown, _) => "Ended",
    }
}

fn row(invoice: &Invoice) -> impl IntoView + use<> {
    let number = invoice.number.clone().unwrap_or_else(|| "Invoice".to_owned());
    // Stripe's address of the invoice; nothing else becomes a link.
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
            <td>{day(invoice.created_at)}</td>
            <td>{number}</td>
            <td>{status}</td>
            <td class="end">{invoice.due.to_string()}</td>
        </tr>
    }
}

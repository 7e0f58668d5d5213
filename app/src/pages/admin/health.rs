//! `/admin/health`: queues, failures, and what needs attention.

use crate::api;
use crate::components::duration::{moment, wait};
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::pages::admin::AdminTabs;
use crate::pages::settings::billing::Connection;
use crate::view::admin::{Drift, HealthView, IgnoredForward};
use domain::money::count;
use domain::{BillingFlag, DeadLetter, Tokens};
use leptos::prelude::*;

/// Renders the health page.
#[component]
pub fn Health() -> impl IntoView {
    view! {
        <Frame title="Health" wide=true>
            <header class="page-head split">
                <h1>"Health"</h1>
                <AdminTabs current="/admin/health"/>
            </header>
            {loaded(api::admin::health(), |health| view! { <Shown health/> })}
        </Frame>
    }
}

#[component]
fn Shown(health: HealthView) -> impl IntoView {
    let last =
        health.last_event.map_or_else(|| "No events yet.".to_owned(), |at| format!("Last event {}.", moment(at)));
    let oldest = health.oldest.map(|at| format!(" Oldest waiting since {}.", moment(at))).unwrap_or_default();
    let drift = health.compared.as_ref().map(|(_, _, drift)| drift.clone()).unwrap_or_default();
    let (known, found) = health.schema;
    let schema = match found.cmp(&known) {
        std::cmp::Ordering::Equal => {
            format!("Version {}. The database schema is up to date ({known} migrations).", health.version)
        }
        std::cmp::Ordering::Greater => {
            format!(
                "Version {}. The database schema is newer than this server: {found} migrations applied, {known} known.",
                health.version
            )
        }
        std::cmp::Ordering::Less => {
            format!("Version {}. The database schema is outdated: {found} of {known} migrations.", health.version)
        }
    };
    let rollup_status = match health.report {
        (None, _) => "The usage report has not been computed yet.".to_owned(),
        (Some(as_of), newer) => {
            format!("Usage report as of {} UTC; {} since then.", moment(as_of), count(newer, "call", "calls"))
        }
    };
    let waiting = waiting(&health);
    let compared = health.compared.as_ref().map_or_else(
        || "Not reconciled yet.".to_owned(),
        |(at, checked, drift)| {
            let compared = count(checked.unsigned_abs(), "subscription", "subscriptions");
            format!("{}: {compared} compared, {} differed.", moment(*at), drift.len())
        },
    );
    view! {
        <Connection payments=health.payments/> {health.ignored_forward.map(ignored_forward)}
        {waiting}
        <p class="hint">{last}{oldest}</p>
        <section>
            <h2>"Model providers"</h2>
            {table("Model providers", &["Provider", "State"], health.providers.into_iter().map(provider).collect(), "No API key is set, so the demo model is used.")}
        </section>
        <section>
            <h2>"Alerts"</h2>
            {table("Alerts", &["Alert", "Since", "Until"], health.alerts.into_iter().map(alert).collect(), "None. Alerts about users with a large share of usage, spend caps, failing providers, dead letters and usage counters appear here and are sent by email and webhook.")}
        </section>
        <section>
            <h2>"Needs attention"</h2>
            {table("Needs attention", &["Issue", "User", "Amount", "Since", ""], health.flags.into_iter().map(flag).collect(), "Nothing. Refunds, chargebacks and unknown subscriptions appear here.")}
        </section>
        <section>
            <h2>"Dead letters"</h2>
            {table("Dead letters", &["Event", "Reason", "Attempts", "Failed at", ""], health.dead_letters.into_iter().map(dead_letter).collect(), "None. Events that keep failing end up here and can be replayed.")}
        </section>
        <section>
            <h2>"Stripe reconciliation"</h2>
            <p class="hint">{compared}</p>
            {(!drift.is_empty()).then(|| table("Drift", &["Object", "Difference", "Action taken"], drift.into_iter().map(drift_row).collect(), ""))}
            <form method="post" action="/admin/health/reconcile"><button class="secondary">"Reconcile now"</button></form>
        </section>
        <section>
            <h2>"This server"</h2>
            <p class="hint">{schema}</p>
            <p class="hint">{rollup_status}</p>
        </section>
        {(health.jobs_dead + health.jobs_erased > 0)
            .then(|| failed_jobs(health.jobs_dead, health.jobs_erased, health.job_error))}
    }
}

/// Renders the jobs that failed for good, with a button if some can be retried.
fn failed_jobs(retriable: i64, erased: i64, error: Option<String>) -> AnyView {
    let without_content = (erased > 0).then(|| {
        let failed = count(erased.unsigned_abs(), "of them is a mail or alert", "of them are mails or alerts");
        view! { <p class="hint">{format!("{failed} that failed more than 7 days ago. The content was erased, so there is nothing to retry.")}</p> }
    });
    let retry = (retriable > 0).then(|| {
        view! { <form method="post" action="/admin/health/replay"><button class="secondary">"Retry"</button></form> }
    });
    view! {
        <section>
            <h2>"Failed jobs"</h2>
            <p class="hint">{error}</p>
            {without_content}
            {retry}
        </section>
    }
    .into_any()
}

/// Renders the counts of what waits or has failed, those that aren't zero; a sentence if all are.
fn waiting(health: &HealthView) -> AnyView {
    let number = |n: i64| n.max(0).cast_unsigned();
    let length = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let figures: Vec<AnyView> = [
        (number(health.waiting), "Stripe events waiting"),
        (length(health.dead_letters.len()), "dead letters"),
        (length(health.flags.len()), "need attention"),
        (number(health.drifts), "usage counters rebuilt in 24 hours"),
        (number(health.jobs_waiting), "jobs waiting"),
        (number(health.jobs_dead + health.jobs_erased), "failed jobs"),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, label)| {
        view! { <p class="figure"><strong>{Tokens(n).to_string()}</strong><span>{label}</span></p> }.into_any()
    })
    .collect();
    if figures.is_empty() {
        let sentence = "Nothing is waiting and nothing has failed.";
        return view! { <p class="done"><Draw icon=Icon::Check/>{sentence}</p> }.into_any();
    }
    view! { <section class="figures">{figures}</section> }.into_any()
}

fn table(label: &'static str, heads: &'static [&'static str], rows: Vec<AnyView>, empty: &'static str) -> AnyView {
    if rows.is_empty() {
        return view! { <p class="hint">{empty}</p> }.into_any();
    }
    let number = |head: &str| matches!(head, "Amount" | "Attempts").then_some("end");
    let heads = heads.iter().map(|head| match *head {
        // A column of buttons has no name, and an empty heading would be announced.
        "" => view! { <td></td> }.into_any(),
        head => view! { <th scope="col" class=number(head)>{head}</th> }.into_any(),
    });
    let heads = heads.collect_view();
    view! {
        <div class="table-scroll" tabindex="0" role="region" aria-label=label>
            <table class="compact"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>
        </div>
    }
    .into_any()
}

fn provider((name, open_ms): (String, Option<u64>)) -> AnyView {
    let state = open_ms.map_or_else(
        || "Available".to_owned(),
        |ms| match ms {
            0 => "Circuit open: retried with the next request".to_owned(),
            ms => format!("Circuit open: retried in {}", wait(ms)),
        },
    );
    view! { <tr><th scope="row">{name}</th><td>{state}</td></tr> }.into_any()
}

fn ignored_forward(ignored: IgnoredForward) -> AnyView {
    let IgnoredForward { peer, at, requests } = ignored;
    let times = count(requests, "request", "requests");
    view! {
        <p class="note">
            {format!("{times} had an X-Forwarded-For header that was ignored, the last one from {peer} at {}. ", moment(at))}
            "If that is your proxy, add it to TRUSTED_PROXIES: until then all users behind it share one attempt limit. Otherwise a client tried to forge its address, and nothing needs to be done."
        </p>
    }
    .into_any()
}

fn alert((text, since, until): (String, time::OffsetDateTime, Option<time::OffsetDateTime>)) -> AnyView {
    let until = until.map_or_else(|| "open".to_owned(), moment);
    view! { <tr><th scope="row">{text}</th><td>{moment(since)}</td><td>{until}</td></tr> }.into_any()
}

fn flag(flag: BillingFlag) -> AnyView {
    let what = match flag.kind.as_str() {
        "refund" => "Refund",
        "dispute" => "Chargeback",
        "dispute_won" => "Chargeback won: the amount was returned",
        "orphan" => "Subscription without an account",
        "two_customers" => "User with two Stripe customers",
        "two_subscriptions" => "User with two subscriptions",
        "other_currency" => "Checkout refused: the user has paid in another currency",
        "unknown_product" => "Subscription to an unknown plan",
        _ => "Other",
    };
    let who = match (flag.user_id, flag.email) {
        (Some(id), Some(email)) => view! { <a href=format!("/admin/users/{id}")>{email}</a> }.into_any(),
        _ => "unknown".into_any(),
    };
    view! {
        <tr>
            <th scope="row">{what}<br/><code>{flag.object_id.clone()}</code></th>
            <td>{who}</td>
            <td class="end">{flag.amount.map(|amount| amount.to_string())}</td>
            <td>{moment(flag.created_at)}</td>
            <td>
                <form method="post" action="/admin/health/clear">
                    <input type="hidden" name="kind" value=flag.kind/>
                    <input type="hidden" name="object" value=flag.object_id.clone()/>
                    <button class="quiet small" aria-label=format!("Dismiss {}", flag.object_id)>"Dismiss"</button>
                </form>
            </td>
        </tr>
    }
    .into_any()
}

fn dead_letter(letter: DeadLetter) -> AnyView {
    view! {
        <tr>
            <th scope="row">{letter.kind}<br/><code>{letter.id.clone()}</code></th>
            <td>{letter.error}</td>
            <td class="end">{letter.attempts}</td>
            <td>{moment(letter.dead_at)}</td>
            <td>
                <form method="post" action="/admin/health/replay">
                    <input type="hidden" name="event" value=letter.id.clone()/>
                    <button class="secondary small" aria-label=format!("Replay {}", letter.id)>"Replay"</button>
                </form>
            </td>
        </tr>
    }
    .into_any()
}

fn drift_row(drift: Drift) -> AnyView {
    view! { <tr><th scope="row"><code>{drift.id}</code></th><td>{drift.what}</td><td>{drift.repair}</td></tr> }
        .into_any()
}

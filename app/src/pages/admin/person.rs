//! `/admin/users/{user_id}`: one person, and the plan they are on.

use crate::api;
use crate::api::admin::{Hold, OwnLimits, PersonView};
use crate::components::duration::{day, moment};
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::components::meter::Meter;
use crate::pages::admin::audit::Acts;
use crate::pages::usage::Spent;
use crate::visit::visit;
use domain::{PlanId, Tokens, UserId, Viewer};
use leptos::prelude::*;
use time::OffsetDateTime;

/// The page.
#[component]
pub fn Person() -> impl IntoView {
    // What is no id is nobody's, and answered as that.
    let id =
        visit().path.strip_prefix("/admin/users/").and_then(|id| id.parse::<uuid::Uuid>().ok()).unwrap_or_default();
    let shown = loaded(api::admin::person(UserId::from(id)), |person| view! { <Shown person/> });
    view! { <Frame title="Account" wide=true>{shown}</Frame> }
}

#[component]
fn Shown(person: PersonView) -> impl IntoView {
    let PersonView { viewer, created_at, granted, plans, usage, billing, limits, paused_at, sessions, holds, audit } =
        person;
    let given = granted.unwrap_or_else(|| PlanId("free".to_owned()));
    let pays = billing.subscription.as_ref().map(|found| {
        let plan = billing.paid_plan.clone().unwrap_or_else(|| "no plan of ours".to_owned());
        format!(
            "Pays {} a {} for {plan}: {}, period ends {}.",
            found.amount,
            found.period.as_str(),
            found.status.as_str(),
            day(found.period_end)
        )
    });
    let since = day(created_at);
    let options = plans
        .into_iter()
        .map(|plan| {
            let selected = plan.id == given;
            view! { <option value=plan.id.0.clone() selected=selected>{format!("{} · {} tokens a day, {} requests a minute", plan.name, plan.tokens_per_day, plan.requests_per_minute)}</option> }
        })
        .collect_view();
    let quota = usage.quota.clone();
    view! {
        <p class="crumb"><a href="/admin">"Heaviest users"</a></p>
        <header class="page-head">
            <h1 class="long">{viewer.email.clone()}</h1>
            <p>{format!("{} · {} plan · here since {since}{}", viewer.display_name(), viewer.plan.name, if viewer.is_admin { " · admin" } else { "" })}</p>
        </header>
        <div class="columns">
            <section class="panel">
                <h2>"Left now"</h2>
                <Meter quota=Signal::stored(quota)/>
            </section>
            <section class="panel">
                <h2>"Plan"</h2>
                <form method="post" action=format!("/admin/users/{}/plan", viewer.user_id) class="inline">
                    <label class="unseen" for="plan">"Plan"</label>
                    <select id="plan" name="plan">{options}</select>
                    <label class="unseen" for="plan-why">"Why"</label>
                    <input id="plan-why" name="why" required maxlength="500" placeholder="Why"/>
                    <button>"Set plan"</button>
                </form>
                <p class="hint">"What you give counts beside what they pay; the larger holds, from their next message on. What they used stays used."</p>
                {pays.map(|pays| view! { <p class="hint">{pays}</p> })}
            </section>
        </div>
        <InForce viewer=viewer.clone() limits=limits.clone() paused_at/>
        <div class="columns">
            <Holds holds/>
            <Sessions sessions/>
        </div>
        <Deeds viewer limits paused_at/>
        <Spent usage/>
        <section>
            <h2>"What was done to them"</h2>
            <Acts rows=audit/>
        </section>
    }
}

/// The limits that hold, and where each comes from.
#[component]
fn InForce(viewer: Viewer, limits: Option<OwnLimits>, paused_at: Option<OffsetDateTime>) -> impl IntoView {
    let plan = format!("the {} plan", viewer.plan.name);
    let from = |own: Option<i64>| match (own, &limits) {
        (Some(_), Some(limits)) => format!("their own until {}", day(limits.until)),
        _ => plan.clone(),
    };
    let own = |of: fn(&OwnLimits) -> Option<i64>| limits.as_ref().and_then(of);
    let rows = [
        ("Requests a minute", Tokens(viewer.plan.requests_per_minute).to_string(), from(own(|limits| limits.requests))),
        ("Tokens a day", viewer.plan.tokens_per_day.to_string(), from(own(|limits| limits.tokens))),
        ("Answers at once", Tokens(viewer.plan.in_flight).to_string(), plan.clone()),
        ("Tokens an answer", viewer.plan.max_output.to_string(), plan.clone()),
    ];
    let rows = rows
        .map(|(what, limit, from)| view! { <tr><th scope="row">{what}</th><td class="end">{limit}</td><td>{from}</td></tr> })
        .into_iter()
        .collect_view();
    let paused = paused_at.map(
        |at| view! { <p class="form-error">{format!("Paused since {}: they can read and not ask.", moment(at))}</p> },
    );
    view! {
        <section>
            <h2>"Limits in force"</h2>
            {paused}
            <table class="compact numbers">
                <thead><tr><th scope="col">"What"</th><th scope="col" class="end">"Limit"</th><th scope="col">"Comes from"</th></tr></thead>
                <tbody>{rows}</tbody>
            </table>
            <p class="hint">{format!("Their days begin in {}.", viewer.time_zone)}</p>
        </section>
    }
}

/// What is held for answers that run.
#[component]
fn Holds(holds: Vec<Hold>) -> impl IntoView {
    let is_empty = holds.is_empty();
    let rows = holds
        .into_iter()
        .map(|hold| {
            let state = if hold.is_alive { "runs" } else { "no sign of life; ended within a minute" };
            view! {
                <tr>
                    <th scope="row">{moment(hold.since)}</th><td>{hold.model.0}</td>
                    <td class="end">{hold.reserved.to_string()}</td><td>{state}</td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <section>
            <h2>"Held now"</h2>
            {is_empty.then(|| view! { <p class="hint">"No answer of theirs runs, and nothing is held."</p> })}
            {(!is_empty).then(|| view! {
                <table class="compact numbers">
                    <thead><tr><th scope="col">"Since"</th><th scope="col">"Model"</th><th scope="col" class="end">"Tokens"</th><th scope="col">"State"</th></tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            })}
        </section>
    }
}

/// Where they are signed in.
#[component]
fn Sessions(sessions: Vec<OffsetDateTime>) -> impl IntoView {
    let rows =
        sessions.iter().map(|ends| view! { <li>{format!("Signed in until {}", moment(*ends))}</li> }).collect_view();
    view! {
        <section>
            <h2>"Sessions"</h2>
            {sessions.is_empty().then(|| view! { <p class="hint">"Signed in nowhere."</p> })}
            <ul class="plain">{rows}</ul>
        </section>
    }
}

/// What can be done to them; each opens first, says what will happen, and wants a reason.
#[component]
fn Deeds(viewer: Viewer, limits: Option<OwnLimits>, paused_at: Option<OffsetDateTime>) -> impl IntoView {
    let action = format!("/admin/users/{}/act", viewer.user_id);
    let deed = move |name: &'static str, label: &'static str, says: &'static str, is_danger: bool, fields: AnyView| {
        let class = if is_danger { "danger small" } else { "small" };
        let reason = format!("why-{name}");
        view! {
            <details>
                <summary>{label}</summary>
                <form method="post" action=action.clone() class="stack">
                    <p>{says}</p>
                    {fields}
                    <label for=reason.clone()>"Why"</label>
                    <input id=reason name="why" required maxlength="500"/>
                    <button class=class name="act" value=name>{label}</button>
                </form>
            </details>
        }
    };
    let none = || ().into_any();
    let own = view! {
        <label>"Tokens a day " <input name="tokens" inputmode="numeric" pattern="[0-9]*" placeholder="as the plan"/></label>
        <label>"Requests a minute " <input name="requests" inputmode="numeric" pattern="[0-9]*" placeholder="as the plan"/></label>
        <label>"Until " <input type="date" name="until" required/></label>
    }
    .into_any();
    let lift = limits.is_some().then(|| {
        deed(
            "unlimit",
            "Back to the plan's limits",
            "Their plan's limits hold again with their next message.",
            false,
            none(),
        )
    });
    let pause = if paused_at.is_some() {
        deed("resume", "Lift the pause", "They can ask again with their next message.", false, none())
    } else {
        deed(
            "pause",
            "Pause",
            "Their next message is refused kindly; what runs ends as it would, and everything can be read.",
            true,
            none(),
        )
    };
    let admin = if viewer.is_admin {
        deed(
            "unmake_admin",
            "Take admin away",
            "They no longer see these pages. The last admin can't be taken away.",
            true,
            none(),
        )
    } else {
        deed("make_admin", "Make them an admin", "They see all of this, and can do all of this.", true, none())
    };
    view! {
        <section class="acts">
            <h2>"Do something"</h2>
            {deed("limit", "Limits of their own until a day", "These hold instead of the plan's from their next message on, until the day begins in UTC. More tokens a day is how you grant some: what they used stays used.", false, own)}
            {lift}
            {pause}
            {deed("rebuild", "Release stuck holds", "Their meters are built anew from the ledger: what runs stays held, what nothing runs for is free.", false, none())}
            {deed("sign_out", "Sign out everywhere", "Every session of theirs ends, on every device.", true, none())}
            {admin}
        </section>
    }
}

//! `/admin/users/{user_id}`: one user, their plan and limits, and actions.

use crate::api;
use crate::components::duration::{day, moment};
use crate::components::field::FormError;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::components::meter::Meter;
use crate::page_context::page_context;
use crate::pages::admin::Saved;
use crate::pages::admin::audit::AuditTable;
use crate::pages::admin::user_keys::UserKeys;
use crate::pages::usage::UsageDetails;
use crate::view::admin::{OwnLimits, UserView};
use domain::{HeldCall, PlanId, Tokens, UserId, Viewer};
use leptos::prelude::*;
use time::OffsetDateTime;

/// Renders the page of a user.
#[component]
pub fn User() -> impl IntoView {
    // An invalid id becomes the nil UUID, which belongs to no user, so the response is a 404.
    let id = page_context()
        .path
        .strip_prefix("/admin/users/")
        .and_then(|id| id.parse::<uuid::Uuid>().ok())
        .unwrap_or_default();
    let shown = loaded(api::admin::user(UserId::from(id)), |user| view! { <Shown user/> });
    view! { <Frame title="Account" wide=true>{shown}</Frame> }
}

#[component]
fn Shown(user: UserView) -> impl IntoView {
    let UserView {
        now,
        keys,
        viewer,
        created_at,
        granted,
        plans,
        usage,
        billing,
        limits,
        paused_at,
        sessions,
        holds,
        audit,
    } = user;
    let given = granted.unwrap_or_else(|| PlanId("free".to_owned()));
    let pays = billing.subscription.as_ref().map(|found| {
        let plan = billing.paid_plan.clone().unwrap_or_else(|| "an unknown plan".to_owned());
        format!(
            "Pays {} a {} for {plan}: {}, period ends {}.",
            found.amount,
            found.period.as_str(),
            found.status.as_str(),
            day(found.period_end)
        )
    });
    let (since, user_id) = (day(created_at), viewer.user_id);
    let options = plans
        .into_iter()
        .map(|plan| {
            let selected = plan.id == given;
            view! { <option value=plan.id.0.clone() selected=selected>{plan.name}</option> }
        })
        .collect_view();
    let quota = usage.quota.clone();
    view! {
        <p class="crumb"><a href="/admin/users">"Users"</a></p>
        <header class="page-head">
            <h1 class="long">{viewer.email.clone()}</h1>
            <p>{format!("{} · {} plan · joined {since}{}", viewer.display_name(), viewer.plan.name, if viewer.is_admin { " · admin" } else { "" })}</p>
        </header>
        <FormError/>
        <Saved sentence="Done. The action and its reason are under Activity below."/>
        <div class="columns">
            <section class="panel">
                <h2>"Remaining"</h2>
                <Meter quota/>
            </section>
            <section class="panel">
                <h2>"Plan"</h2>
                <form method="post" action=format!("/admin/users/{}/plan", viewer.user_id) class="inline">
                    <label class="unseen" for="plan">"Plan"</label>
                    <select id="plan" name="plan">{options}</select>
                    <label class="unseen" for="plan-why">"Reason"</label>
                    <input id="plan-why" name="why" required maxlength="500" placeholder="Reason"/>
                    <button>"Set plan"</button>
                </form>
                <p class="hint">"If the user also pays for a plan, the larger of the two applies. Changes apply from the next message. Usage is not reset."</p>
                {pays.map(|pays| view! { <p class="hint">{pays}</p> })}
            </section>
        </div>
        <InForce viewer=viewer.clone() limits=limits.clone() paused_at/>
        <div class="columns">
            <Holds holds/>
            <Sessions sessions/>
        </div>
        <AdminActions viewer limits paused_at/>
        <UserKeys user_id keys now/>
        <UsageDetails usage/>
        <section>
            <h2>"Activity"</h2>
            <AuditTable rows=audit/>
        </section>
    }
}

/// The effective limits and the source of each.
#[component]
fn InForce(viewer: Viewer, limits: Option<OwnLimits>, paused_at: Option<OffsetDateTime>) -> impl IntoView {
    let plan = format!("the {} plan", viewer.plan.name);
    let from = |own: Option<i64>| match (own, &limits) {
        (Some(_), Some(limits)) => format!("override until {}", day(limits.until)),
        _ => plan.clone(),
    };
    let own = |of: fn(&OwnLimits) -> Option<i64>| limits.as_ref().and_then(of);
    let rows = [
        (
            "Requests per minute",
            Tokens(viewer.plan.requests_per_minute).to_string(),
            from(own(|limits| limits.requests)),
        ),
        ("Tokens per day", viewer.plan.tokens_per_day.to_string(), from(own(|limits| limits.tokens))),
        ("Responses at once", Tokens(viewer.plan.in_flight).to_string(), plan.clone()),
        ("Tokens per response", viewer.plan.max_output.to_string(), plan.clone()),
    ];
    let rows = rows
        .map(|(what, limit, from)| view! { <tr><th scope="row">{what}</th><td class="end">{limit}</td><td>{from}</td></tr> })
        .into_iter()
        .collect_view();
    let paused =
        paused_at.map(|at| view! { <p class="form-error">{format!("Paused since {}: read-only.", moment(at))}</p> });
    view! {
        <section>
            <h2>"Current limits"</h2>
            {paused}
            <table class="compact numbers">
                <thead><tr><th scope="col">"Limit"</th><th scope="col" class="end">"Value"</th><th scope="col">"Source"</th></tr></thead>
                <tbody>{rows}</tbody>
            </table>
            <p class="hint">{format!("Time zone: {}.", viewer.time_zone)}</p>
        </section>
    }
}

/// Tokens reserved for responses in progress.
#[component]
fn Holds(holds: Vec<HeldCall>) -> impl IntoView {
    let is_empty = holds.is_empty();
    let rows = holds
        .into_iter()
        .map(|hold| {
            let state = if hold.is_alive { "running" } else { "not responding; ends within a minute" };
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
            <h2>"Reserved now"</h2>
            {is_empty.then(|| view! { <p class="hint">"No responses in progress, nothing reserved."</p> })}
            {(!is_empty).then(|| view! {
                <table class="compact numbers">
                    <thead><tr><th scope="col">"Since"</th><th scope="col">"Model"</th><th scope="col" class="end">"Tokens"</th><th scope="col">"State"</th></tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            })}
        </section>
    }
}

/// The user's sessions, with their expiry.
#[component]
fn Sessions(sessions: Vec<OffsetDateTime>) -> impl IntoView {
    let rows =
        sessions.iter().map(|ends| view! { <li>{format!("Signed in until {}", moment(*ends))}</li> }).collect_view();
    view! {
        <section>
            <h2>"Sessions"</h2>
            {sessions.is_empty().then(|| view! { <p class="hint">"Not signed in."</p> })}
            <ul class="plain">{rows}</ul>
        </section>
    }
}

/// The fields of a temporary limit override, with what was typed if it was rejected.
fn limit_fields() -> AnyView {
    let failed = page_context().form;
    let (tokens, requests, until) = (failed.value("tokens"), failed.value("requests"), failed.value("until"));
    view! {
        <label class="field">"Tokens per day " <input name="tokens" inputmode="numeric" pattern="[0-9]*" placeholder="plan limit" value=tokens/></label>
        <label class="field">"Requests per minute " <input name="requests" inputmode="numeric" pattern="[0-9]*" placeholder="plan limit" value=requests/></label>
        <label class="field">"Until, UTC " <input type="date" name="until" required value=until/></label>
    }
    .into_any()
}

/// Forms for actions on the user. Each describes its effect and requires a reason.
#[component]
fn AdminActions(viewer: Viewer, limits: Option<OwnLimits>, paused_at: Option<OffsetDateTime>) -> impl IntoView {
    let action = format!("/admin/users/{}/act", viewer.user_id);
    // After a rejection the action's form is open, with what was typed.
    let failed = page_context().form;
    let (rejected, why) = (failed.submitted("act"), failed.value("why"));
    let action =
        move |name: &'static str, label: &'static str, effect: &'static str, is_danger: bool, fields: AnyView| {
            let class = if is_danger { "danger small" } else { "small" };
            let reason = format!("why-{name}");
            let is_rejected = rejected.as_deref() == Some(name);
            let why = if is_rejected { why.clone() } else { String::new() };
            view! {
                <details open=is_rejected>
                    <summary>{label}</summary>
                    <form method="post" action=action.clone() class="stack">
                        <p>{effect}</p>
                        {fields}
                        <div class="field">
                            <label for=reason.clone()>"Reason"</label>
                            <input id=reason name="why" required maxlength="500" value=why/>
                        </div>
                        <button class=class name="act" value=name>{label}</button>
                    </form>
                </details>
            }
        };
    let none = || ().into_any();
    let lift = limits.is_some().then(|| {
        action(
            "unlimit",
            "Remove limit override",
            "The plan's limits apply again from the next message.",
            false,
            none(),
        )
    });
    let pause = if paused_at.is_some() {
        action("resume", "Resume", "The user can send messages again.", false, none())
    } else {
        action(
            "pause",
            "Pause",
            "New messages are refused. Responses in progress finish, and conversations can still be read.",
            true,
            none(),
        )
    };
    let admin = if viewer.is_admin {
        action(
            "unmake_admin",
            "Remove admin",
            "The user loses access to these pages. The last admin can't be removed.",
            true,
            none(),
        )
    } else {
        action("make_admin", "Make admin", "The user gets full access to these pages.", true, none())
    };
    let limit = "Replaces the plan's limits from the next message until the start of that day (UTC). To grant tokens, raise the tokens per day. Usage is not reset.";
    let rebuild =
        "Rebuilds the counters from the ledger. Responses in progress stay reserved; stuck reservations are released.";
    view! {
        <div class="columns">
            <section class="panel acts">
                <h2>"Actions"</h2>
                {action("limit", "Temporary limit override", limit, false, limit_fields())}
                {lift}
                {action("rebuild", "Reset usage counters", rebuild, false, none())}
            </section>
            <section class="danger-zone acts">
                <h2><Draw icon=Icon::Danger size=20/>"Access"</h2>
                {pause}
                {action("sign_out", "Sign out everywhere", "Ends all sessions on all devices.", true, none())}
                {admin}
            </section>
        </div>
    }
}

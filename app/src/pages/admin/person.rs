//! `/admin/users/{user_id}`: one person, and the plan they are on.

use crate::api;
use crate::api::admin::PersonView;
use crate::components::duration::day;
use crate::components::frame::{Frame, Refused};
use crate::components::loaded::loaded;
use crate::components::meter::Meter;
use crate::pages::usage::Spent;
use crate::visit::visit;
use domain::{PlanId, Problem, UserId};
use leptos::prelude::*;

/// The page.
#[component]
pub fn Person() -> impl IntoView {
    let id = visit().path.strip_prefix("/admin/users/").and_then(|id| id.parse::<UserId>().ok());
    let shown = match id {
        Some(id) => loaded(api::admin::person(id), |person| view! { <Shown person/> }).into_any(),
        None => view! { <Refused problem=Problem::not_found("account")/> }.into_any(),
    };
    view! { <Frame title="Account" wide=true>{shown}</Frame> }
}

#[component]
fn Shown(person: PersonView) -> impl IntoView {
    let PersonView { viewer, created_at, granted, plans, usage, billing } = person;
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
    let since = created_at.date().to_string();
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
                    <button>"Set plan"</button>
                </form>
                <p class="hint">"What you give counts beside what they pay; the larger holds, from their next message on. What they used stays used."</p>
                {pays.map(|pays| view! { <p class="hint">{pays}</p> })}
            </section>
        </div>
        <Spent usage/>
    }
}

//! `/admin/plans`: the limits and models of each plan.

use crate::api;
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::pages::admin::AdminTabs;
use domain::{ModelName, Plan, Tokens};
use leptos::prelude::*;

/// Renders the plans page.
#[component]
pub fn Plans() -> impl IntoView {
    view! {
        <Frame title="Plans" wide=true>
            <header class="page-head split">
                <h1>"Plans"</h1>
                <AdminTabs current="/admin/plans"/>
            </header>
            {loaded(api::admin::plans(), |(plans, models)| view! { <Shown plans models/> })}
        </Frame>
    }
}

#[component]
fn Shown(plans: Vec<Plan>, models: Vec<ModelName>) -> impl IntoView {
    let rows = plans
        .iter()
        .map(|plan| {
            let models: Vec<&str> = plan.models.iter().map(|model| model.0.as_str()).collect();
            view! {
                <tr>
                    <th scope="row">{plan.name.clone()}</th>
                    <td class="end">{Tokens(plan.requests_per_minute).to_string()}</td>
                    <td class="end">{plan.tokens_per_day.to_string()}</td>
                    <td class="end">{Tokens(plan.in_flight).to_string()}</td>
                    <td class="end">{plan.max_output.to_string()}</td>
                    <td class="wraps">{models.join(", ")}</td>
                </tr>
            }
        })
        .collect_view();
    let forms = plans.into_iter().map(|plan| form(plan, &models)).collect_view();
    view! {
        <div class="table-scroll" tabindex="0" role="region" aria-label="Plans">
            <table class="compact numbers">
                <thead><tr>
                    <th scope="col">"Plan"</th><th scope="col" class="end">"Requests per minute"</th><th scope="col" class="end">"Tokens per day"</th>
                    <th scope="col" class="end">"Concurrent"</th><th scope="col" class="end">"Per response"</th><th scope="col">"Models (default first)"</th>
                </tr></thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
        <section class="model-forms">
            <h2>"Edit plans"</h2>
            <p class="hint">"New limits apply from each user's next message. Usage is not reset. Prices are set in Stripe by `quotient plans push`."</p>
            {forms}
        </section>
    }
}

fn form(plan: Plan, models: &[ModelName]) -> impl IntoView + use<> {
    let number = |name: &'static str, label: &'static str, value: u64| {
        let id = format!("{name}-{}", plan.id);
        view! {
            <div class="field">
                <label for=id.clone()>{label}</label>
                <input id=id name=name inputmode="numeric" pattern="[0-9]+" required=true autocomplete="off" value=value.to_string()/>
            </div>
        }
    };
    let allowed = models
        .iter()
        .map(|model| {
            let checked = plan.models.contains(model);
            view! { <label class="check"><input type="checkbox" name="model" value=model.0.clone() checked=checked/>" "{model.0.clone()}</label> }
        })
        .collect_view();
    let first = plan.models.first().cloned();
    let defaults = models
        .iter()
        .map(|model| view! { <option value=model.0.clone() selected=first.as_ref() == Some(model)>{model.0.clone()}</option> })
        .collect_view();
    let cost_id = format!("cost-{}", plan.id);
    let default_id = format!("default-{}", plan.id);
    view! {
        <details>
            <summary>{plan.name.clone()}</summary>
            <form method="post" action=format!("/admin/plans/{}", plan.id) class="stack" aria-label=format!("Rules of {}", plan.name)>
                {number("requests", "Requests per minute", plan.requests_per_minute)}
                {number("tokens", "Tokens per day", plan.tokens_per_day.0)}
                {number("in_flight", "Responses at once", plan.in_flight)}
                {number("max_output", "Tokens per response", plan.max_output.0)}
                <div class="field">
                    <label for=cost_id.clone()>"Show cost to users"</label>
                    <select id=cost_id name="shows_cost">
                        <option value="yes" selected=plan.shows_cost>"yes"</option>
                        <option value="no" selected=!plan.shows_cost>"no"</option>
                    </select>
                </div>
                <fieldset><legend>"Allowed models"</legend>{allowed}</fieldset>
                <div class="field">
                    <label for=default_id.clone()>"Default model"</label>
                    <select id=default_id name="first">{defaults}</select>
                </div>
                <button class="secondary">"Save"</button>
            </form>
        </details>
    }
}

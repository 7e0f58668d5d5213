//! `/admin/plans`: the limits and models of each plan, and how long conversations are kept.

use crate::api;
use crate::components::field::FormError;
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::pages::admin::retention::Retention;
use crate::pages::admin::{AdminTabs, Saved};
use crate::view::admin::PlanRow;
use domain::ModelName;
use domain::money::count;
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
            {loaded(api::admin::retention(), |view| view! { <Retention view/> })}
        </Frame>
    }
}

#[component]
fn Shown(plans: Vec<PlanRow>, models: Vec<ModelName>) -> impl IntoView {
    let rows = plans.into_iter().map(|plan| row(plan, &models)).collect_view();
    view! {
        <FormError/>
        <Saved sentence="Saved. New limits apply from each user's next message."/>
        <div class="table-scroll" tabindex="0" role="region" aria-label="Plans">
            <table class="compact numbers fields">
                <thead><tr>
                    <th scope="col">"Plan"</th><th scope="col" class="end">"Requests per minute"</th><th scope="col" class="end">"Tokens per day"</th>
                    <th scope="col" class="end">"Concurrent"</th><th scope="col" class="end">"Per response"</th><th scope="col" class="end">"Files, MB"</th><th scope="col" class="end">"API keys"</th>
                    <th scope="col">"Models (default first)"</th><th scope="col">"Show cost"</th>
                    <th scope="col" class="end">"Maximum cost"</th><th scope="col"><span class="unseen">"Save"</span></th>
                </tr></thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
        <p class="hint">"Maximum cost: what a user who uses all tokens of every day costs in 30 days, at the highest price of the plan's models."</p>
        <p class="hint">
            "Usage is not reset. Names, prices and trials are changed by "<code>"quotient plans set"</code>", new plans added by "
            <code>"quotient plans add"</code>"; "<code>"quotient plans push"</code>" then changes them in Stripe."
        </p>
    }
}

/// Renders a plan, edited in its row. The fields belong to the form in the last cell. After a rejection they show what was typed.
fn row(row: PlanRow, models: &[ModelName]) -> impl IntoView + use<> {
    let PlanRow { plan, api_keys, max_cost } = row;
    let form = format!("plan-{}", plan.id);
    let rejected = Some(page_context().form).filter(|form| form.submitted("row").as_ref() == Some(&plan.id.0));
    let value =
        |name: &str, stored: String| rejected.as_ref().and_then(|rejected| rejected.submitted(name)).unwrap_or(stored);
    let number = |name: &'static str, what: &'static str, stored: u64| {
        let (label, value) = (format!("{what} of {}", plan.name), value(name, stored.to_string()));
        view! {
            <td>
                <input form=form.clone() name=name inputmode="numeric" pattern="[0-9]+" required=true autocomplete="off" value=value aria-label=label/>
            </td>
        }
    };
    let default_id = format!("default-{}", plan.id);
    let allowed = models.iter().map(|model| {
        let checked = match &rejected {
            Some(rejected) => rejected.values.iter().any(|(name, value)| *name == "model" && *value == model.0),
            None => plan.models.contains(model),
        };
        view! { <label class="check"><input type="checkbox" form=form.clone() name="model" value=model.0.clone() checked=checked/>{model.0.clone()}</label> }
    });
    let allowed = allowed.collect_view();
    let first = plan.models.first();
    let picked = value("first", first.map(|model| model.0.clone()).unwrap_or_default());
    let defaults = models
        .iter()
        .map(|model| view! { <option value=model.0.clone() selected=model.0 == picked>{model.0.clone()}</option> })
        .collect_view();
    let list: Vec<&str> = plan.models.iter().map(|model| model.0.as_str()).collect();
    let number_of_models = count(u64::try_from(list.len()).unwrap_or(u64::MAX), "model", "models");
    let shows_cost = value("shows_cost", if plan.shows_cost { "yes" } else { "no" }.to_owned()) == "yes";
    let default = first.map(|model| view! { <br/><span class="hint">{model.0.clone()}</span> });
    view! {
        <tr>
            <th scope="row">{plan.name.clone()}</th>
            {number("requests", "Requests per minute", plan.requests_per_minute)}
            {number("tokens", "Tokens per day", plan.tokens_per_day.0)}
            {number("in_flight", "Responses at once", plan.in_flight)}
            {number("max_output", "Tokens per response", plan.max_output.0)}
            {number("storage_mb", "Megabytes of files", plan.storage_bytes / 1_000_000)}
            {number("api_keys", "API keys", api_keys.into())}
            <td>
                <details>
                    <summary title=list.join(", ")>{number_of_models}{default}</summary>
                    <fieldset><legend>{format!("Models of {}", plan.name)}</legend>{allowed}</fieldset>
                    <div class="field">
                        <label for=default_id.clone()>"Default model"</label>
                        <select id=default_id form=form.clone() name="first">{defaults}</select>
                    </div>
                </details>
            </td>
            <td>
                <select form=form.clone() name="shows_cost" aria-label=format!("Show cost to users of {}", plan.name)>
                    <option value="yes" selected=shows_cost>"yes"</option>
                    <option value="no" selected=!shows_cost>"no"</option>
                </select>
            </td>
            <td class="end">{max_cost.map(|(cost, model)| view! { {cost.to_string()}<br/><small>{model.0}</small> })}</td>
            <td class="end">
                <form id=form.clone() method="post" action=format!("/admin/plans/{}", plan.id)>
                    <button class="secondary small" aria-label=format!("Save {}", plan.name)>"Save"</button>
                </form>
            </td>
        </tr>
    }
}

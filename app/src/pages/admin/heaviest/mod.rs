//! `/admin`: who costs what, and whether they pay for it.

mod below;
mod table;

pub use table::HeaviestTable;

use crate::api;
use crate::api::admin::{Asked, HeaviestView, Period};
use crate::components::chart::{Bar, Stack, Stacks};
use crate::components::duration::day;
use crate::components::frame::{Frame, Refused};
use crate::components::loaded::loaded;
use crate::pages::admin::{AdminTabs, Pager};
use crate::visit::visit;
use below::{Around, ByModel};
use domain::{Picos, Problem, Tokens};
use leptos::prelude::*;
use time::Date;

/// The page.
#[component]
pub fn Heaviest() -> impl IntoView {
    let visit = visit();
    let shown = match Asked::parse(|name| visit.query(name)) {
        Ok(asked) => {
            let again = asked.clone();
            loaded(api::admin::heaviest(asked), move |view| view! { <Shown view asked=again.clone()/> }).into_any()
        }
        Err(why) => view! { <Refused problem=Problem::invalid("period", why)/> }.into_any(),
    };
    view! {
        <Frame title="Heaviest users" wide=true>
            <header class="page-head split">
                <h1>"Heaviest users"</h1>
                <AdminTabs current="/admin"/>
            </header>
            {shown}
        </Frame>
    }
}

#[component]
fn Shown(view: HeaviestView, asked: Asked) -> impl IntoView {
    let choices = Period::ALL
        .map(|period| {
            let href = Asked { period, page: 1, ..asked.clone() }.href("/admin");
            let current = (period == asked.period).then_some("page");
            view! { <a href=href aria-current=current>{period.label()}</a> }
        })
        .collect_view();
    let of = if asked.is_whole() { "" } else { ", everybody" };
    let pages = view.people.div_ceil(u64::from(Asked::ROWS));
    let (path, page) = (asked.clone(), asked.page);
    let export = ["csv", "json"].map(|kind| {
        let href = Asked { page: 1, ..asked.clone() }.href(&format!("/admin/export.{kind}"));
        view! { <a class="secondary small" href=href download>{format!("{} of every call", kind.to_uppercase())}</a> }
    });
    view! {
        <nav class="tabs period" aria-label="Period">{choices}</nav>
        {(view.people > 0).then(|| view! { <Figures view=view.clone() asked=asked.clone() full=true/> })}
        <Now view=view.clone()/>
        <CostByDay view=view.clone() asked=asked.clone() of/>
        <Filter view=view.clone() asked=asked.clone()/>
        <HeaviestTable view=view.clone() asked=asked.clone() full=true/>
        <Pager page pages href=move |page| Asked { page, ..path.clone() }.href("/admin")/>
        <ByModel view=view.clone() of=of/>
        <Around view=view.clone() asked=asked.clone() of=of/>
        <p class="actions">{export.into_iter().collect_view()}</p>
        {view.kept_from.map(|from| view! {
            <p class="hint">{format!("Single calls are kept since {}; older ones are in the figures above, not in the files.", day(from))}</p>
        })}
    }
}

/// What runs and what is spent at this moment.
#[component]
fn Now(view: HeaviestView) -> impl IntoView {
    let (spent, cap) = view.today;
    let of = cap.map_or_else(|| "no cap holds".to_owned(), |cap| format!("of {cap} that may be"));
    let (running, reserved) = (Tokens(view.running), view.reserved);
    view! {
        <p class="hint live">
            <strong>"Now: "</strong>
            {format!("{running} answers running, {reserved} tokens held for them, at least {spent} spent in 24 hours, {of}.")}
        </p>
    }
}

/// Search, plan, model, and a period of one's own.
#[component]
fn Filter(view: HeaviestView, asked: Asked) -> impl IntoView {
    let option = |value: &str, label: String, chosen: bool| view! { <option value=value.to_owned() selected=chosen>{label}</option> };
    let plans =
        view.plans.iter().map(|plan| option(&plan.0, plan.0.clone(), asked.plan.as_ref() == Some(plan))).collect_view();
    let models = view
        .models
        .iter()
        .map(|model| option(&model.0, model.0.clone(), asked.model.as_ref() == Some(model)))
        .collect_view();
    let (from, to) = match asked.period {
        Period::Custom(from, to) => (from.to_string(), to.to_string()),
        _ => (String::new(), String::new()),
    };
    let is_custom = matches!(asked.period, Period::Custom(..));
    let is_set = is_custom || asked.plan.is_some() || asked.model.is_some() || !asked.search.is_empty();
    view! {
        <details class="filters" open=is_set>
            <summary>"Search and filter"</summary>
            <form method="get" action="/admin" class="filter" role="search">
                <input type="hidden" name="by" value=asked.order.as_str()/>
                <label>"Address" <input type="search" name="q" value=asked.search.clone() maxlength="200" placeholder="part of it"/></label>
                <label>"Plan" <select name="plan"><option value="">"every plan"</option>{plans}</select></label>
                <label>"Model" <select name="model"><option value="">"every model"</option>{models}</select></label>
                <label>"Period"
                    <select name="period">
                        {Period::ALL.map(|period| option(period.as_str(), period.label(), period == asked.period)).collect_view()}
                        {option("custom", "from … to …".to_owned(), is_custom)}
                    </select>
                </label>
                <label>"From" <input type="date" name="from" value=from/></label>
                <label>"To" <input type="date" name="to" value=to/></label>
                <button class="secondary">"Show"</button>
            </form>
        </details>
    }
}

/// The numbers that matter: what was spent, with its change, and what it was for; on the landing page from a fixture, with fewer of them.
#[component]
pub fn Figures(
    /// What was used.
    view: HeaviestView,
    /// Which part of it.
    asked: Asked,
    /// Also what is paid for it.
    full: bool,
) -> impl IntoView {
    let HeaviestView { total, before, people, revenue, other_currencies, .. } = view;
    let period = asked.period.label();
    // What everybody pays says nothing beside what some of them cost.
    let change = if asked.is_whole() { change(total.cost, before) } else { String::new() };
    let more = (full && asked.is_whole()).then(|| {
        view! {
            <p class="figure"><strong>{revenue.to_string()}</strong><span>"subscriptions pay for it"</span></p>
            <p class="figure"><strong>{signed(revenue.0 - total.cost.0)}</strong><span>"left of that"</span></p>
            {(other_currencies > 0).then(|| view! {
                <p class="figure"><strong>{Tokens(other_currencies).to_string()}</strong><span>"subscriptions not in dollars, left out"</span></p>
            })}
        }
    });
    view! {
        <section class="figures">
            <p class="figure"><strong>{total.cost.to_string()}</strong><span>{format!("spent in {period}{change}")}</span></p>
            <p class="figure"><strong>{total.tokens().to_string()}</strong><span>"tokens"</span></p>
            <p class="figure"><strong>{Tokens(total.requests).to_string()}</strong><span>"requests"</span></p>
            <p class="figure"><strong>{Tokens(people).to_string()}</strong><span>"people"</span></p>
            {more}
        </section>
    }
}

/// Money that may be less than nothing.
fn signed(picos: i64) -> String {
    let amount = Picos(picos.saturating_abs()).to_string();
    if picos < 0 { format!("\u{2212}{amount}") } else { amount }
}

/// How what was spent differs from the period before, in per cent; nothing where that had nothing.
fn change(now: Picos, before: Option<Picos>) -> String {
    let Some(before) = before.filter(|before| before.0 > 0) else { return String::new() };
    let percent = (i128::from(now.0) - i128::from(before.0)) * 100 / i128::from(before.0);
    match percent {
        0 => ", as before".to_owned(),
        1.. => format!(", +{percent} % on the time before"),
        _ => format!(", \u{2212}{} % on the time before", -percent),
    }
}

/// A day in a chart: 3 Mar.
fn day_of(day: Date) -> String {
    format!("{} {}", day.day(), &day.month().to_string()[..3])
}

/// What each model cost on each day.
#[component]
fn CostByDay(view: HeaviestView, asked: Asked, of: &'static str) -> impl IntoView {
    let stacks: Vec<Stack> = view
        .days
        .iter()
        .map(|(date, models)| Stack {
            label: day_of(*date),
            parts: models
                .iter()
                .map(|(model, cost)| Bar {
                    label: model.to_string(),
                    value: cost.0.unsigned_abs(),
                    text: cost.to_string(),
                })
                .collect(),
        })
        .collect();
    view! {
        <section>
            <h2>{format!("Cost by day and model{of}")}</h2>
            <Stacks title=format!("Cost by day and model, {}, in UTC", asked.period.label()) stacks/>
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_in_whole_per_cent() {
        for (now, before, said) in [
            (150, Some(100), ", +50 % on the time before"),
            (50, Some(100), ", \u{2212}50 % on the time before"),
            (1_001, Some(1_000), ", as before"),
            (5, Some(0), ""),
            (5, None, ""),
            (i64::MAX, Some(1), ", +922337203685477580600 % on the time before"),
        ] {
            assert_eq!(change(Picos(now), before.map(Picos)), said);
        }
    }
}

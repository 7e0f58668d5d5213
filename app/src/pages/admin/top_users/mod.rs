//! `/admin`: cost and revenue by user.

mod below;
mod table;

pub use table::TopUsersTable;

use crate::api;
use crate::components::chart::{Bar, Stack, Stacks};
use crate::components::duration::{clock, day};
use crate::components::error_page::ErrorPage;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::pages::admin::{AdminTabs, Pager};
use crate::view::admin::{Moment, TopUsersView, Warnings};
use crate::view::usage_filter::href;
use below::{ByModel, TokensAndRefusals};
use domain::money::count;
use domain::{ModelName, Picos, ReportPeriod, Tokens, UsageFilter};
use leptos::prelude::*;
use std::collections::BTreeMap;
use time::{Date, OffsetDateTime};

/// Renders the page.
#[component]
pub fn TopUsers() -> impl IntoView {
    let context = page_context();
    let shown = match UsageFilter::parse(|name| context.query(name)) {
        Ok(filter) => {
            let again = filter.clone();
            loaded(api::admin::top_users(filter), move |view| view! { <Shown view filter=again.clone()/> }).into_any()
        }
        Err(problem) => view! { <ErrorPage problem/> }.into_any(),
    };
    view! {
        <Frame title="Top users" wide=true>
            <header class="page-head split">
                <h1>"Top users"</h1>
                <AdminTabs current="/admin"/>
            </header>
            {shown}
        </Frame>
    }
}

#[component]
fn Shown(view: TopUsersView, filter: UsageFilter) -> impl IntoView {
    let choices = ReportPeriod::STANDARD
        .map(|period| {
            let href = href(&UsageFilter { period, page: 1, ..filter.clone() }, "/admin");
            let current = (period == filter.period).then_some("page");
            view! { <a href=href aria-current=current>{period.label()}</a> }
        })
        .collect_view();
    let of = if filter.is_whole() { "" } else { ", all users" };
    let pages = view.count.div_ceil(u64::from(UsageFilter::ROWS));
    let (path, page) = (filter.clone(), filter.page);
    let export = ["csv", "json"].map(|kind| {
        let href = href(&UsageFilter { page: 1, ..filter.clone() }, &format!("/admin/export.{kind}"));
        view! { <a class="secondary small" href=href download>{format!("{} of all calls", kind.to_uppercase())}</a> }
    });
    view! {
        <WarningList warnings=view.warnings.clone()/>
        <nav class="tabs period" aria-label="Period">{choices}</nav>
        {(view.users > 0).then(|| view! { <Figures view=view.clone() filter=filter.clone() full=true/> })}
        <Now now=view.now.clone() as_of=view.as_of filter=filter.clone()/>
        <CostByDay view=view.clone() filter=filter.clone() of/>
        <Filter view=view.clone() filter=filter.clone()/>
        <TopUsersTable view=view.clone() filter=filter.clone() full=true/>
        <Pager page pages href=move |page| href(&UsageFilter { page, ..path.clone() }, "/admin")/>
        <ByModel view=view.clone() of=of/>
        <TokensAndRefusals view=view.clone() filter=filter.clone() of=of/>
        <p class="actions">{export.into_iter().collect_view()}</p>
        {view.kept_from.map(|from| view! {
            <p class="hint">{format!("Individual calls are kept from {} on. Older ones are included in the figures above, but not in the files.", day(from))}</p>
        })}
    }
}

/// Renders warnings about models that end soon and providers that reject every call. Renders nothing if there are none.
#[component]
fn WarningList(warnings: Warnings) -> impl IntoView {
    let ending = warnings.ending.into_iter().map(|(label, day)| {
        let sentence = format!("{label} ends on {day}: its provider switches it off then. ");
        view! { <li><Draw icon=Icon::Alert/><span>{sentence}<a href="/admin/models">"Models"</a></span></li> }
            .into_any()
    });
    let accounts = warnings.accounts.into_iter().map(|sentence| {
        view! { <li><Draw icon=Icon::Danger/><span>{sentence}" "<a href="/admin/providers">"Providers"</a></span></li> }
            .into_any()
    });
    let items: Vec<AnyView> = accounts.chain(ending).collect();
    (!items.is_empty()).then(|| view! { <ul class="warnings" aria-label="Warnings">{items}</ul> })
}

/// Renders running turns and spending now, and when the figures of the page were computed.
#[component]
fn Now(now: Moment, as_of: Option<OffsetDateTime>, filter: UsageFilter) -> impl IntoView {
    let of = now.cap.map_or_else(|| "no cap set".to_owned(), |cap| format!("of a {cap} cap"));
    let running = count(now.running, "response running", "responses running");
    let figures = match as_of {
        Some(as_of) => format!("Figures as of {} UTC.", clock(as_of)),
        None => "Figures are being computed.".to_owned(),
    };
    view! {
        <form class="hint live" method="post" action=href(&filter, "/admin/refresh")>
            <strong>"Now: "</strong>
            {format!("{running}, {} tokens reserved, {} spent in the last 24 hours, {of}. {figures}", now.reserved, now.spent)}
            " " <button class="secondary small">"Refresh"</button>
        </form>
    }
}

/// Renders the search and filter form: email, plan, model, and a standard or custom period.
#[component]
fn Filter(view: TopUsersView, filter: UsageFilter) -> impl IntoView {
    let option = |value: &str, label: String, chosen: bool| view! { <option value=value.to_owned() selected=chosen>{label}</option> };
    let plans = view
        .plans
        .iter()
        .map(|plan| option(&plan.0, plan.0.clone(), filter.plan.as_ref() == Some(plan)))
        .collect_view();
    let models = view
        .models
        .iter()
        .map(|model| option(&model.0, model.0.clone(), filter.model.as_ref() == Some(model)))
        .collect_view();
    let (from, to) = match filter.period {
        ReportPeriod::Custom(from, to) => (from.to_string(), to.to_string()),
        _ => (String::new(), String::new()),
    };
    let is_custom = matches!(filter.period, ReportPeriod::Custom(..));
    let is_set = is_custom || filter.plan.is_some() || filter.model.is_some() || !filter.search.is_empty();
    view! {
        <details class="filters" open=is_set>
            <summary>"Search and filter"</summary>
            <form method="get" action="/admin" class="filter" role="search">
                <input type="hidden" name="by" value=filter.order.as_str()/>
                <label>"Email" <input type="search" name="q" value=filter.search.clone() maxlength="200" placeholder="any part"/></label>
                <label>"Plan" <select name="plan"><option value="">"All plans"</option>{plans}</select></label>
                <label>"Model" <select name="model"><option value="">"All models"</option>{models}</select></label>
                <label>"Period"
                    <select name="period">
                        {ReportPeriod::STANDARD.map(|period| option(period.as_str(), period.label(), period == filter.period)).collect_view()}
                        {option("custom", "Custom".to_owned(), is_custom)}
                    </select>
                </label>
                <label>"From" <input type="date" name="from" value=from/></label>
                <label>"To" <input type="date" name="to" value=to/></label>
                <button class="secondary">"Apply"</button>
            </form>
        </details>
    }
}

/// Renders the key figures: cost with its change, tokens, requests and users. Also used on the landing page with example data.
#[component]
pub fn Figures(
    /// The report.
    view: TopUsersView,
    /// The filter of the report.
    filter: UsageFilter,
    /// Whether to include revenue and gross margin.
    full: bool,
) -> impl IntoView {
    let TopUsersView { total, change, users, revenue, other_currencies, cache_savings, .. } = view;
    let period = filter.period.label();
    // The change and the revenue are of all users, so they are left out if the cost is of some only.
    let change = change.filter(|_| filter.is_whole()).map(|(now, before)| change_text(now, before)).unwrap_or_default();
    let more = (full && filter.is_whole()).then(|| {
        view! {
            <p class="figure"><strong>{revenue.to_string()}</strong><span>"revenue"</span></p>
            <p class="figure"><strong>{signed(revenue.0 - total.cost.0)}</strong><span>"gross margin"</span></p>
            {(cache_savings != Picos::ZERO).then(|| view! {
                <p class="figure"><strong>{signed(cache_savings.0)}</strong><span>"saved by prompt caching"</span></p>
            })}
            {(other_currencies > 0).then(|| view! {
                <p class="figure"><strong>{Tokens(other_currencies).to_string()}</strong><span>"subscriptions in other currencies, not included"</span></p>
            })}
        }
    });
    view! {
        <section class="figures">
            <p class="figure"><strong>{total.cost.to_string()}</strong><span>{format!("spent in {period}{change}")}</span></p>
            <p class="figure"><strong>{total.tokens().to_string()}</strong><span>"tokens"</span></p>
            <p class="figure"><strong>{Tokens(total.requests).to_string()}</strong><span>"requests"</span></p>
            <p class="figure"><strong>{Tokens(users).to_string()}</strong><span>"users"</span></p>
            {more}
        </section>
    }
}

/// Formats an amount that may be negative.
fn signed(picos: i64) -> String {
    let amount = Picos(picos.saturating_abs()).to_string();
    if picos < 0 { format!("\u{2212}{amount}") } else { amount }
}

/// Formats the change from the previous period as a whole percentage; empty if the previous period had no cost.
fn change_text(now: Picos, before: Picos) -> String {
    if before.0 <= 0 {
        return String::new();
    }
    let percent = (i128::from(now.0) - i128::from(before.0)) * 100 / i128::from(before.0);
    match percent {
        0 => ", no change vs previous period".to_owned(),
        1.. => format!(", +{percent} % vs previous period"),
        _ => format!(", \u{2212}{} % vs previous period", -percent),
    }
}

/// Formats a day for a chart, such as `3 Mar`.
fn day_of(day: Date) -> String {
    format!("{} {}", day.day(), &day.month().to_string()[..3])
}

/// Maximum number of days in the chart by day. Longer periods are charted by month.
const DAYS_DRAWN: usize = 190;

/// Returns the bars of the chart, by day or by month: label, and cost by model.
fn drawn(days: &[(Date, Vec<(ModelName, Picos)>)]) -> Vec<(String, BTreeMap<&ModelName, Picos>)> {
    let by_month = days.len() > DAYS_DRAWN;
    let mut drawn: Vec<(String, BTreeMap<&ModelName, Picos>)> = Vec::new();
    for (day, models) in days {
        let label = match by_month {
            true => format!("{} {}", &day.month().to_string()[..3], day.year()),
            false => day_of(*day),
        };
        if drawn.last().is_none_or(|(last, _)| *last != label) {
            drawn.push((label, BTreeMap::new()));
        }
        let Some((_, all)) = drawn.last_mut() else { continue };
        for (model, cost) in models {
            let sum = all.entry(model).or_default();
            *sum = sum.plus(*cost);
        }
    }
    drawn
}

/// Renders the chart of cost by day, or by month, and model.
#[component]
fn CostByDay(view: TopUsersView, filter: UsageFilter, of: &'static str) -> impl IntoView {
    let stacks = drawn(&view.days).into_iter().map(|(label, models)| {
        let part = |(model, cost): (&ModelName, Picos)| Bar {
            label: model.to_string(),
            value: cost.0.max(0).cast_unsigned(),
            text: cost.to_string(),
        };
        Stack { label, parts: models.into_iter().map(part).collect() }
    });
    let stacks = stacks.collect();
    let unit = if view.days.len() > DAYS_DRAWN { "month" } else { "day" };
    view! {
        <section>
            <h2>{format!("Cost by {unit} and model{of}")}</h2>
            <Stacks title=format!("Cost by {unit} and model, {}, in UTC", filter.period.label()) stacks/>
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_periods_are_charted_by_month() {
        let model = ModelName("a".to_owned());
        let first = time::macros::date!(2024 - 12 - 30);
        let days: Vec<_> =
            (0..200).map(|n| (first + time::Duration::days(n), vec![(model.clone(), Picos(1))])).collect();
        let by_day = drawn(&days[..190]);
        assert_eq!((by_day.len(), by_day[2].0.as_str()), (190, "1 Jan"));
        let by_month = drawn(&days);
        assert_eq!((by_month.len(), by_month[1].0.as_str()), (8, "Jan 2025"));
        assert_eq!((by_month[0].1[&model], by_month[1].1[&model]), (Picos(2), Picos(31)));
    }

    #[test]
    fn change_is_a_whole_percentage() {
        for (now, before, text) in [
            (150, 100, ", +50 % vs previous period"),
            (50, 100, ", \u{2212}50 % vs previous period"),
            (1_001, 1_000, ", no change vs previous period"),
            (5, 0, ""),
            (5, -5, ""),
            (i64::MAX, 1, ", +922337203685477580600 % vs previous period"),
        ] {
            assert_eq!(change_text(Picos(now), Picos(before)), text);
        }
    }
}

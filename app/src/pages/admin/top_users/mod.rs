//! `/admin`: cost and revenue by user.

mod below;
mod cost_chart;
mod figures;
mod table;

pub use figures::Figures;
pub use table::TopUsersTable;

use crate::api;
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
use cost_chart::CostChart;
use domain::money::count;
use domain::{ReportPeriod, UsageFilter};
use leptos::prelude::*;
use time::OffsetDateTime;

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
        <Frame title="Overview" wide=true>
            <header class="page-head split">
                <h1>"Overview"</h1>
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
    // The demo on the site has usage, but is no user.
    let has_usage = view.users > 0 || view.total.requests > 0;
    let pages = view.count.div_ceil(u64::from(UsageFilter::ROWS));
    let (path, page) = (filter.clone(), view.page);
    let files =
        [("csv", "", "CSV of all calls"), ("csv", "&bom=1", "CSV for Excel"), ("json", "", "JSON of all calls")];
    let export = files.map(|(kind, mark, label)| {
        let href = href(&UsageFilter { page: 1, ..filter.clone() }, &format!("/admin/export.{kind}"));
        view! { <a class="button secondary small" href=format!("{href}{mark}") download>{label}</a> }
    });
    view! {
        <nav class="tabs period" aria-label="Period">{choices}</nav>
        {has_usage.then(|| view! { <Figures view=view.clone() filter=filter.clone()/> })}
        <Now now=view.now.clone() as_of=view.as_of filter=filter.clone()/>
        <CostChart view=view.clone() filter=filter.clone() of/>
        <WarningList warnings=view.warnings.clone()/>
        <h2>"Top users"</h2>
        <Filter view=view.clone() filter=filter.clone()/>
        <TopUsersTable view=view.clone() filter=filter.clone()/>
        <Pager page pages href=move |page| href(&UsageFilter { page, ..path.clone() }, "/admin")/>
        <ByModel view=view.clone() of=of/>
        <TokensAndRefusals view=view.clone() filter=filter.clone() of=of/>
        <p class="actions">{export.into_iter().collect_view()}</p>
        {view.kept_from.map(|from| view! {
            <p class="hint">{format!("Individual calls are kept from {} on. Older ones are included in the figures above, but not in the files.", day(from))}</p>
        })}
    }
}

/// Renders what needs attention: models that end soon and providers that reject every call. Renders nothing if there are none.
#[component]
fn WarningList(warnings: Warnings) -> impl IntoView {
    let ending = warnings.ending.into_iter().map(|(label, day)| {
        let sentence = format!("{label} ends on {day}, when its provider shuts it down. ");
        view! { <li><Draw icon=Icon::Alert/><span>{sentence}<a href="/admin/models">"Models"</a></span></li> }
            .into_any()
    });
    let accounts = warnings.accounts.into_iter().map(|sentence| {
        view! { <li><Draw icon=Icon::Danger/><span>{sentence}" "<a href="/admin/providers">"Providers"</a></span></li> }
            .into_any()
    });
    let items: Vec<AnyView> = accounts.chain(ending).collect();
    (!items.is_empty()).then(|| {
        view! {
            <section>
                <h2>"Needs attention"</h2>
                <ul class="warnings">{items}</ul>
            </section>
        }
    })
}

/// Renders running turns now, the use of the spend cap, and when the figures of the page were computed.
#[component]
fn Now(now: Moment, as_of: Option<OffsetDateTime>, filter: UsageFilter) -> impl IntoView {
    let running = count(now.running, "response running", "responses running");
    // Without a cap, the amount would only repeat the figures above, of a slightly different time.
    let cap = now.cap.map(|cap| format!(" {} of the spend cap of {cap} used in the last 24 hours.", now.spent));
    let figures = match as_of {
        Some(as_of) => format!("Figures as of {} UTC.", clock(as_of)),
        None => "Figures are being computed.".to_owned(),
    };
    view! {
        <form class="hint live" method="post" action=href(&filter, "/admin/refresh")>
            <p>
                <strong>"Now: "</strong>
                {format!("{running}, {} tokens reserved.{} {figures}", now.reserved, cap.unwrap_or_default())}
            </p>
            <button class="secondary small">"Refresh"</button>
        </form>
    }
}

/// Renders the search and filter form: email, plan, model and dates. Without dates the period doesn't change.
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
    let is_custom = !filter.period.is_standard();
    let period = (!is_custom).then(|| view! { <input type="hidden" name="period" value=filter.period.as_str()/> });
    let is_set = is_custom || !filter.is_whole();
    view! {
        <form method="get" action="/admin" class="filter" role="search">
            <input type="hidden" name="by" value=filter.order.as_str()/>
            {period}
            <label>"Email" <input type="search" name="q" value=filter.search.clone() maxlength="200" placeholder="any part"/></label>
            <label>"Plan" <select name="plan"><option value="">"All plans"</option>{plans}</select></label>
            <label>"Model" <select name="model"><option value="">"All models"</option>{models}</select></label>
            <label>"From, UTC" <input type="date" name="from" value=from/></label>
            <label>"To, UTC" <input type="date" name="to" value=to/></label>
            <button class="secondary">"Apply"</button>
            {is_set.then(|| view! { <a class="button quiet" href="/admin">"Clear"</a> })}
        </form>
    }
}

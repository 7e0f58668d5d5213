//! `/usage`: the viewer's usage by day and model.

use crate::api;
use crate::components::chart::{Bar, Bars, Share};
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::components::meter::Meter;
use crate::page_context::page_context;
use crate::view::usage::UsageView;
use domain::{ModelName, Tokens, UsageSum};
use leptos::prelude::*;
use time::Date;

const PERIODS: [u16; 3] = [7, 30, 90];

/// Renders the usage page.
#[component]
pub fn Usage() -> impl IntoView {
    let requested = page_context().query("days").and_then(|days| days.parse().ok());
    let days = requested.filter(|days| PERIODS.contains(days)).unwrap_or(30);
    let tabs = PERIODS
        .map(|period| {
            let current = (period == days).then_some("page");
            view! { <a href=format!("/usage?days={period}") aria-current=current>{format!("Last {period} days")}</a> }
        })
        .collect_view();
    view! {
        <Frame title="Usage" wide=true>
            <header class="page-head split">
                <h1>"Usage"</h1>
                <nav class="tabs" aria-label="Period">{tabs}</nav>
            </header>
            {loaded(api::usage::own(days), |usage| view! { <Shown usage/> })}
        </Frame>
    }
}

#[component]
fn Shown(usage: UsageView) -> impl IntoView {
    let quota = usage.quota.clone();
    let (zone, days) = (usage.time_zone.clone(), usage.days.len());
    let bars: Vec<Bar> = usage
        .refills
        .iter()
        .map(|(at, tokens)| Bar { label: at.clone(), value: tokens.0, text: format!("{tokens} at {at}") })
        .collect();
    let refills = bars.iter().any(|bar| bar.value > 0).then(|| {
        view! {
            <section>
                <h2>"Token refill schedule"</h2>
                <Bars title=format!("Token refill by half hour, in {zone}") bars/>
                <p class="hint">"Tokens become available again 24 hours after you use them, rounded up to the next half hour. Nothing resets at midnight."</p>
            </section>
        }
    });
    view! {
        <section class="panel today">
            <h2>"Remaining"</h2>
            <Meter quota/>
        </section>
        {refills}
        <UsageDetails usage/>
        <p class="hint">{format!("Days and hours are in the time zone {zone}. ")}<a href="/settings">"Change time zone"</a></p>
        <p class="actions"><a class="secondary small" href=format!("/usage.csv?days={days}") download>{format!("Download CSV of the last {days} days")}</a></p>
    }
}

/// A user's usage: totals, chart and tables. Also used on the admin page of a user.
#[component]
pub fn UsageDetails(
    /// The usage to show.
    usage: UsageView,
) -> impl IntoView {
    let UsageView { days, models, total, recent_turns, shows_cost, time_zone, .. } = usage;
    if total.requests == 0 {
        return view! {
            <section class="empty">
                <h2>"No usage yet"</h2>
                <p>"Your first response appears here as soon as it ends."</p>
            </section>
        }
        .into_any();
    }
    let bars = days.iter().map(|(day, sum)| bar(*day, sum, shows_cost)).collect::<Vec<_>>();
    let rows = models.iter().map(|(model, sum)| row(model, sum, &total, shows_cost)).collect_view();
    let turns = recent_turns
        .into_iter()
        .map(|turn| {
            view! {
                <tr>
                    <th scope="row">{turn.at}</th><td>{turn.model}</td><td>{turn.status}</td>
                    <td class="end">{turn.tokens.to_string()}</td>{shows_cost.then(|| view! { <td class="end">{turn.cost.to_string()}</td> })}
                </tr>
            }
        })
        .collect_view();
    view! {
        <section class="figures">
            <p class="figure"><strong>{total.tokens().to_string()}</strong><span>"tokens"</span></p>
            {shows_cost.then(|| view! { <p class="figure"><strong>{total.cost.to_string()}</strong><span>"cost at model prices"</span></p> })}
            <p class="figure"><strong>{Tokens(total.requests).to_string()}</strong><span>"responses"</span></p>
        </section>
        <section>
            <h2>"Tokens by day"</h2>
            <Bars title=format!("Tokens by day, in {time_zone}") bars/>
        </section>
        <section>
            <h2>"By model"</h2>
            <div class="table-scroll" tabindex="0" role="region" aria-label="By model">
                <table class="compact numbers">
                    <thead><tr>
                        <th scope="col">"Model"</th><th scope="col" class="end">"Responses"</th><th scope="col" class="end">"Input"</th>
                        <th scope="col" class="end">"Cached"</th><th scope="col" class="end">"Output"</th>
                        {shows_cost.then(|| view! { <th scope="col" class="end">"Cost"</th> })}
                        <th scope="col">{if shows_cost { "Share of cost" } else { "Share of tokens" }}</th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
        <section>
            <h2>"Recent responses"</h2>
            <div class="table-scroll" tabindex="0" role="region" aria-label="Recent responses">
                <table class="compact numbers">
                    <thead><tr>
                        <th scope="col">"When"</th><th scope="col">"Model"</th><th scope="col">"Ended"</th>
                        <th scope="col" class="end">"Tokens"</th>
                        {shows_cost.then(|| view! { <th scope="col" class="end">"Cost"</th> })}
                    </tr></thead>
                    <tbody>{turns}</tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}

fn bar(day: Date, sum: &UsageSum, shows_cost: bool) -> Bar {
    let label = format!("{} {}", day.day(), &day.month().to_string()[..3]);
    let cost = if shows_cost { format!(", {}", sum.cost) } else { String::new() };
    let text = format!("{} tokens{cost}", sum.tokens());
    Bar { label, value: sum.tokens().0, text }
}

fn row(model: &ModelName, sum: &UsageSum, total: &UsageSum, shows_cost: bool) -> impl IntoView + use<> {
    let (part, whole) = match shows_cost {
        true => (sum.cost.0.unsigned_abs(), total.cost.0.unsigned_abs()),
        false => (sum.tokens().0, total.tokens().0),
    };
    view! {
        <tr>
            <th scope="row">{model.to_string()}</th>
            <td class="end">{Tokens(sum.requests).to_string()}</td>
            <td class="end">{sum.input.to_string()}</td>
            <td class="end">{sum.cached.to_string()}</td>
            <td class="end">{sum.output.to_string()}</td>
            {shows_cost.then(|| view! { <td class="end">{sum.cost.to_string()}</td> })}
            <td><Share part whole/></td>
        </tr>
    }
}

//! `/usage`: what the viewer used, by day and model.

use crate::api;
use crate::api::usage::{Sum, UsageView};
use crate::components::chart::{Bar, Bars, Share};
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::components::meter::Meter;
use crate::visit::visit;
use domain::{ModelName, Tokens};
use leptos::prelude::*;
use time::Date;

const PERIODS: [u16; 3] = [7, 30, 90];

/// The page.
#[component]
pub fn Usage() -> impl IntoView {
    let asked = visit().query("days").and_then(|days| days.parse().ok());
    let days = asked.filter(|days| PERIODS.contains(days)).unwrap_or(30);
    let tabs = PERIODS
        .map(|period| {
            let current = (period == days).then_some("page");
            view! { <a href=format!("/usage?days={period}") aria-current=current>{format!("{period} days")}</a> }
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
    view! {
        <section class="panel today">
            <h2>"Left now"</h2>
            <Meter quota=Signal::stored(quota)/>
        </section>
        <Spent usage/>
    }
}

/// A person's use: the number that matters, the chart, the table. Shared with the admin's page of a person.
#[component]
pub fn Spent(
    /// What they used.
    usage: UsageView,
) -> impl IntoView {
    let UsageView { days, models, total, .. } = usage;
    if total.requests == 0 {
        return view! {
            <section class="empty">
                <h2>"Nothing used yet"</h2>
                <p>"The first answer shows up here as soon as it ends, to the token."</p>
            </section>
        }
        .into_any();
    }
    let bars = days.iter().map(|(day, sum)| bar(*day, sum)).collect::<Vec<_>>();
    let rows = models.iter().map(|(model, sum)| row(model, sum, &total)).collect_view();
    view! {
        <section class="figures">
            <p class="figure"><strong>{total.tokens().to_string()}</strong><span>"tokens"</span></p>
            <p class="figure"><strong>{total.cost.to_string()}</strong><span>"cost at the model's price"</span></p>
            <p class="figure"><strong>{Tokens(total.requests).to_string()}</strong><span>"answers"</span></p>
        </section>
        <section>
            <h2>"Tokens by day"</h2>
            <Bars title="Tokens by day, in UTC" bars/>
        </section>
        <section>
            <h2>"By model"</h2>
            <div class="table-scroll" tabindex="0" role="region" aria-label="By model">
                <table class="compact numbers">
                    <thead><tr>
                        <th scope="col">"Model"</th><th scope="col" class="end">"Answers"</th><th scope="col" class="end">"Input"</th>
                        <th scope="col" class="end">"Cached"</th><th scope="col" class="end">"Output"</th><th scope="col" class="end">"Cost"</th>
                        <th scope="col">"Share of cost"</th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}

fn bar(day: Date, sum: &Sum) -> Bar {
    let label = format!("{} {}", day.day(), &day.month().to_string()[..3]);
    let text = format!("{} tokens, {}", sum.tokens(), sum.cost);
    Bar { label, value: sum.tokens().0, text }
}

fn row(model: &ModelName, sum: &Sum, total: &Sum) -> impl IntoView + use<> {
    let (part, whole) = (sum.cost.0.unsigned_abs(), total.cost.0.unsigned_abs());
    view! {
        <tr>
            <th scope="row">{model.to_string()}</th>
            <td class="end">{Tokens(sum.requests).to_string()}</td>
            <td class="end">{sum.input.to_string()}</td>
            <td class="end">{sum.cached.to_string()}</td>
            <td class="end">{sum.output.to_string()}</td>
            <td class="end">{sum.cost.to_string()}</td>
            <td><Share part whole/></td>
        </tr>
    }
}

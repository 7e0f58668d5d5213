//! `/usage`: the viewer's usage by day and model.

use crate::api;
use crate::components::chart::{Bar, Bars, Share, Unit};
use crate::components::duration::short_day;
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::components::meter::Meter;
use crate::page_context::page_context;
use crate::view::usage::{Turn, UsageView, UsedModel};
use domain::{Tokens, UsageSum};
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
    let refills = usage.refills.clone();
    view! {
        <section class="panel today">
            <h2>"Remaining"</h2>
            <Meter quota/>
        </section>
        <Refills refills zone=zone.clone()/>
        <UsageDetails usage/>
        <p class="hint">{format!("Days and hours are in the time zone {zone}. ")}<a href="/settings">"Change time zone"</a></p>
        <p class="actions">
            <a class="button secondary small" href=format!("/usage.csv?days={days}") download>{format!("Download CSV of the last {days} days")}</a>
            <a class="button secondary small" href=format!("/usage.csv?days={days}&bom=1") download>"CSV for Excel"</a>
        </p>
    }
}

/// Maximum number of times that are listed. More are a chart.
const TIMES_LISTED: usize = 6;

/// When used tokens become available again. A few times are a list, because a day with a few bars would be an empty chart. Renders nothing
/// if no tokens were used.
#[component]
fn Refills(
    /// Local time with its day, and tokens per half hour, soonest first.
    refills: Vec<(String, Tokens)>,
    /// The user's time zone.
    zone: String,
) -> impl IntoView {
    let returning = refills.iter().filter(|(_, tokens)| !tokens.is_zero()).count();
    let drawn = if returning <= TIMES_LISTED {
        let rows = refills.into_iter().filter(|(_, tokens)| !tokens.is_zero()).map(|(at, tokens)| {
            view! { <tr><th scope="row">{at}</th><td class="end">{format!("{tokens} tokens")}</td></tr> }
        });
        view! { <table class="compact numbers narrow"><tbody>{rows.collect_view()}</tbody></table> }.into_any()
    } else {
        // The chart is of one day, so its labels are times alone.
        let time = |at: &str| at.split(',').next().unwrap_or_default().to_owned();
        let bar = |(at, tokens): (String, Tokens)| Bar {
            text: format!("{tokens} tokens"),
            label: time(&at),
            value: tokens.0,
        };
        let bars = refills.into_iter().map(bar).collect();
        view! { <Bars title=format!("Token refill by half hour, in {zone}") bars unit=Unit::Tokens/> }.into_any()
    };
    (returning > 0).then(|| {
        view! {
            <section>
                <h2>"Token refill schedule"</h2>
                {drawn}
                <p class="hint">"Tokens become available again 24 hours after you use them, rounded up to the next half hour. Nothing resets at midnight."</p>
            </section>
        }
    })
}

/// A user's usage: totals, chart and tables. Also used on the admin page of a user.
#[component]
pub fn UsageDetails(
    /// The usage to show.
    usage: UsageView,
) -> impl IntoView {
    let UsageView { days, models, callers, total, recent_turns, shows_cost, shows_conversations, time_zone, .. } =
        usage;
    if total.requests == 0 {
        if recent_turns.is_empty() {
            return view! {
                <section class="empty">
                    <h2>"No usage yet"</h2>
                    <p>"Your first response appears here as soon as it ends."</p>
                </section>
            }
            .into_any();
        }
        // The responses are those of any time.
        return view! {
            <section class="empty"><h2>{format!("No usage in the last {} days", days.len())}</h2></section>
            <RecentTurns turns=recent_turns shows_cost shows_conversations/>
        }
        .into_any();
    }
    let bars = days.iter().map(|(day, sum)| bar(*day, sum, shows_cost)).collect::<Vec<_>>();
    let rows =
        models.iter().map(|(model, sum)| row(model_label(model.clone()), sum, &total, shows_cost)).collect_view();
    // Without calls by key, the table would have one row that repeats the totals.
    let by_caller = callers.iter().any(|(label, _)| label != "Chat").then(|| {
        let rows =
            callers.iter().map(|(label, sum)| row(label.clone().into_any(), sum, &total, shows_cost)).collect_view();
        view! { <Sums title="By chat and API key" head="Source" shows_cost>{rows}</Sums> }
    });
    view! {
        <section class="figures">
            <p class="figure"><strong>{total.tokens().to_string()}</strong><span>"tokens"</span></p>
            {shows_cost.then(|| view! { <p class="figure"><strong>{total.cost.to_string()}</strong><span>"cost at model prices"</span></p> })}
            <p class="figure"><strong>{Tokens(total.requests).to_string()}</strong><span>"responses"</span></p>
        </section>
        <section>
            <h2>"Tokens by day"</h2>
            <Bars title=format!("Tokens by day, in {time_zone}") bars unit=Unit::Tokens/>
        </section>
        <Sums title="By model" head="Model" shows_cost>{rows}</Sums>
        {by_caller}
        <RecentTurns turns=recent_turns shows_cost shows_conversations/>
    }
    .into_any()
}

/// A table of usage with a row for each part of it.
#[component]
fn Sums(title: &'static str, head: &'static str, shows_cost: bool, children: Children) -> impl IntoView {
    view! {
        <section>
            <h2>{title}</h2>
            <div class="table-scroll" tabindex="0" role="region" aria-label=title>
                <table class="compact numbers stacks">
                    <thead><tr>
                        <th scope="col">{head}</th><th scope="col" class="end">"Responses"</th><th scope="col" class="end">"Input"</th>
                        <th scope="col" class="end">"Cached"</th><th scope="col" class="end">"Output"</th>
                        {shows_cost.then(|| view! { <th scope="col" class="end">"Cost"</th> })}
                        <th scope="col">{share_of(shows_cost)}</th>
                    </tr></thead>
                    <tbody>{children()}</tbody>
                </table>
            </div>
        </section>
    }
}

/// Returns the head of the column with shares.
fn share_of(shows_cost: bool) -> &'static str {
    if shows_cost { "Share of cost" } else { "Share of tokens" }
}

fn bar(day: Date, sum: &UsageSum, shows_cost: bool) -> Bar {
    let label = short_day(day);
    let cost = if shows_cost { format!(", {}", sum.cost) } else { String::new() };
    let text = format!("{} tokens{cost}", sum.tokens());
    Bar { label, value: sum.tokens().0, text }
}

/// Renders a model's display name, with its API name as the tooltip.
fn model_label(model: UsedModel) -> AnyView {
    view! { <span title=model.name.0 translate="no">{model.label}</span> }.into_any()
}

fn row(label: AnyView, sum: &UsageSum, total: &UsageSum, shows_cost: bool) -> impl IntoView + use<> {
    let share = share_of(shows_cost);
    let (part, whole) = match shows_cost {
        true => (sum.cost.0.unsigned_abs(), total.cost.0.unsigned_abs()),
        false => (sum.tokens().0, total.tokens().0),
    };
    view! {
        <tr>
            <th scope="row" class="who">{label}</th>
            <td class="end" data-label="Responses">{Tokens(sum.requests).to_string()}</td>
            <td class="end" data-label="Input">{sum.input.to_string()}</td>
            <td class="end" data-label="Cached">{sum.cached.to_string()}</td>
            <td class="end" data-label="Output">{sum.output.to_string()}</td>
            {shows_cost.then(|| view! { <td class="end" data-label="Cost">{sum.cost.to_string()}</td> })}
            <td data-label=share><Share part whole/></td>
        </tr>
    }
}

/// The most recent turns, each with its conversation if conversations are shown.
#[component]
fn RecentTurns(
    /// The turns, newest first.
    turns: Vec<Turn>,
    /// Whether costs are shown.
    shows_cost: bool,
    /// Whether conversations are shown.
    shows_conversations: bool,
) -> impl IntoView {
    let rows = turns.into_iter().map(|turn| {
        let conversation = shows_conversations.then(|| {
            let link = match turn.conversation {
                Some((id, title)) => view! { <a href=format!("/chat/{id}") title=title.clone()>{title.clone()}</a> }.into_any(),
                None => "Deleted conversation".into_any(),
            };
            view! { <td class="who" data-label="Conversation">{link}</td> }
        });
        view! {
            <tr>
                <th scope="row">{turn.at}</th>{conversation}<td data-label="Model">{model_label(turn.model)}</td><td data-label="Status">{ended(&turn.status)}</td>
                <td class="end" data-label="Tokens">{turn.tokens.to_string()}</td>
                {shows_cost.then(|| view! { <td class="end" data-label="Cost">{turn.cost.to_string()}</td> })}
            </tr>
        }
    });
    let rows = rows.collect_view();
    view! {
        <section>
            <h2>"Recent responses"</h2>
            <div class="table-scroll" tabindex="0" role="region" aria-label="Recent responses">
                <table class="compact numbers stacks">
                    <thead><tr>
                        <th scope="col">"When"</th>{shows_conversations.then(|| view! { <th scope="col">"Conversation"</th> })}
                        <th scope="col">"Model"</th><th scope="col">"Status"</th>
                        <th scope="col" class="end">"Tokens"</th>
                        {shows_cost.then(|| view! { <th scope="col" class="end">"Cost"</th> })}
                    </tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
    }
}

/// Describes how a turn ended, by its status in the ledger.
fn ended(status: &str) -> &'static str {
    match status {
        "pending" => "In progress",
        "finished" => "Finished",
        "stopped" => "Stopped",
        "truncated" => "Cut off",
        "refused" => "Declined",
        "filtered" => "Filtered",
        _ => "Failed",
    }
}

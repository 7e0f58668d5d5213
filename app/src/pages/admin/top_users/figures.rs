//! The key figures of the report.

use crate::components::chart::Line;
use crate::view::admin::{KeyFigures, TopUsersView};
use domain::{Picos, Tokens, UsageFilter};
use leptos::prelude::*;

/// Renders the key figures: cost, tokens and requests with their change and course, users, and what the period earns.
#[component]
pub fn Figures(
    /// The report.
    view: TopUsersView,
    /// The filter of the report.
    filter: UsageFilter,
) -> impl IntoView {
    let TopUsersView { total, change, intervals, is_hourly, users, revenue, other_currencies, cache_savings, .. } =
        view;
    let period = filter.period.label();
    // Change, course and revenue are of all users, so they are left out if the figures are of some only.
    let change = |of: fn(&KeyFigures) -> u64| {
        let change = change.filter(|_| filter.is_whole());
        change.map(|(now, before)| change_text(of(&now), of(&before))).unwrap_or_default()
    };
    let has_line = filter.is_whole() && intervals.len() > 1;
    let line = |what: &str, values: Vec<u64>| {
        let title = format!("{what} by {}", if is_hourly { "hour" } else { "day" });
        has_line.then(|| view! { <Line title values/> })
    };
    let cost_of = |costs: &[(domain::ModelName, Picos)]| {
        let sum = costs.iter().fold(Picos::ZERO, |sum, (_, cost)| sum.plus(*cost));
        sum.0.max(0).cast_unsigned()
    };
    let costs = line("Cost", intervals.iter().map(|then| cost_of(&then.cost)).collect());
    let tokens = line("Tokens", intervals.iter().map(|then| then.tokens.0).collect());
    let requests = line("Requests", intervals.iter().map(|then| then.requests).collect());
    let spent = format!("spent in {period}{}", change(|figures| figures.cost.0.max(0).cast_unsigned()));
    let used = format!("tokens{}", change(|figures| figures.tokens.0));
    let sent = format!("requests{}", change(|figures| figures.requests));
    let more = filter.is_whole().then(|| {
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
            <p class="figure"><strong>{total.cost.to_string()}</strong><span>{spent}</span>{costs}</p>
            <p class="figure"><strong>{total.tokens().to_string()}</strong><span>{used}</span>{tokens}</p>
            <p class="figure"><strong>{Tokens(total.requests).to_string()}</strong><span>{sent}</span>{requests}</p>
            <p class="figure"><strong>{Tokens(users).to_string()}</strong><span>"users"</span></p>
            {more}
        </section>
    }
}

/// Formats an amount that may be negative.
pub(super) fn signed(picos: i64) -> String {
    let amount = Picos(picos.saturating_abs()).to_string();
    if picos < 0 { format!("\u{2212}{amount}") } else { amount }
}

/// Formats the change from the previous period as a whole percentage; empty if the previous period had nothing.
fn change_text(now: u64, before: u64) -> String {
    if before == 0 {
        return String::new();
    }
    let percent = (i128::from(now) - i128::from(before)) * 100 / i128::from(before);
    match percent {
        0 => ", no change vs previous period".to_owned(),
        1.. => format!(", +{percent} % vs previous period"),
        _ => format!(", \u{2212}{} % vs previous period", -percent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_is_a_whole_percentage() {
        for (now, before, text) in [
            (150, 100, ", +50 % vs previous period"),
            (50, 100, ", \u{2212}50 % vs previous period"),
            (1_001, 1_000, ", no change vs previous period"),
            (5, 0, ""),
            (u64::MAX, 1, ", +1844674407370955161400 % vs previous period"),
        ] {
            assert_eq!(change_text(now, before), text);
        }
    }
}

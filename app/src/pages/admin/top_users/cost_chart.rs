//! The chart of cost over time.

use crate::components::chart::{Stack, Stacks, Unit};
use crate::components::duration::{clock, short_day};
use crate::view::admin::{TopUsersView, UsageInterval};
use domain::{Picos, UsageFilter};
use leptos::prelude::*;
use std::collections::BTreeMap;

/// Maximum number of days in the chart by day. Longer periods are charted by month.
const DAYS_DRAWN: usize = 190;

/// Returns the bars of the chart, by hour, day or month: label, and cost by model.
fn drawn(intervals: &[UsageInterval], is_hourly: bool) -> Vec<(String, BTreeMap<&str, Picos>)> {
    let by_month = intervals.len() > DAYS_DRAWN;
    let mut drawn: Vec<(String, BTreeMap<&str, Picos>)> = Vec::new();
    for UsageInterval { at, cost, .. } in intervals {
        let label = match (is_hourly, by_month) {
            (true, _) => clock(*at),
            (false, true) => format!("{} {}", &at.month().to_string()[..3], at.year()),
            (false, false) => short_day(at.date()),
        };
        if drawn.last().is_none_or(|(last, _)| *last != label) {
            drawn.push((label, BTreeMap::new()));
        }
        let Some((_, all)) = drawn.last_mut() else { continue };
        for (model, cost) in cost {
            let sum = all.entry(model.0.as_str()).or_default();
            *sum = sum.plus(*cost);
        }
    }
    drawn
}

/// Renders the chart of cost by model and hour, day or month.
#[component]
pub(super) fn CostChart(
    /// The report.
    view: TopUsersView,
    /// The filter of the report.
    filter: UsageFilter,
    /// Suffix of headings: which users the chart covers, if the filter doesn't apply to it.
    of: &'static str,
) -> impl IntoView {
    let stack = |(label, models): (String, BTreeMap<&str, Picos>)| {
        let part = |(model, cost): (&str, Picos)| (model.to_owned(), cost.0.max(0).cast_unsigned());
        Stack { label, parts: models.into_iter().map(part).collect() }
    };
    let stacks: Vec<Stack> = drawn(&view.intervals, view.is_hourly).into_iter().map(stack).collect();
    let unit = match view.is_hourly {
        true => "hour",
        false if view.intervals.len() > DAYS_DRAWN => "month",
        false => "day",
    };
    view! {
        <section>
            <h2>{format!("Cost by {unit} and model{of}")}</h2>
            <Stacks title=format!("Cost by {unit} and model, {}, in UTC", filter.period.label()) stacks unit=Unit::Money/>
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{ModelName, Tokens};
    use time::Duration;
    use time::macros::datetime;

    fn intervals(count: i64, step: Duration) -> Vec<UsageInterval> {
        let at = |n: i64| datetime!(2024-12-30 22:00 UTC) + step * i32::try_from(n).unwrap();
        let cost = vec![(ModelName("a".to_owned()), Picos(1))];
        (0..count).map(|n| UsageInterval { at: at(n), cost: cost.clone(), tokens: Tokens(0), requests: 0 }).collect()
    }

    #[test]
    fn long_periods_are_charted_by_month_and_short_ones_by_hour() {
        let days = intervals(200, Duration::DAY);
        let by_day = drawn(&days[..190], false);
        assert_eq!((by_day.len(), by_day[2].0.as_str()), (190, "1 Jan"));
        let by_month = drawn(&days, false);
        assert_eq!((by_month.len(), by_month[1].0.as_str()), (8, "Jan 2025"));
        assert_eq!((by_month[0].1["a"], by_month[1].1["a"]), (Picos(2), Picos(31)));
        let hours = intervals(25, Duration::HOUR);
        let by_hour = drawn(&hours, true);
        assert_eq!((by_hour.len(), by_hour[0].0.as_str(), by_hour[24].0.as_str()), (25, "22:00", "22:00"));
    }
}

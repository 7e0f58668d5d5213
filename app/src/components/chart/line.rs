//! Small charts, in table cells and next to numbers.

use leptos::prelude::*;

/// A sparkline, showing a value over time.
#[component]
pub fn Line(
    /// Text alternative that describes the line.
    #[prop(into)]
    title: String,
    /// Values, oldest first.
    values: Vec<u64>,
) -> impl IntoView {
    const TALL: u64 = 20;
    let largest = values.iter().copied().max().unwrap_or(0).max(1);
    let gaps = u64::try_from(values.len().saturating_sub(1)).unwrap_or(1).max(1);
    // Ten units per value: the drawing is stretched to its width.
    let points: Vec<String> = values
        .iter()
        .zip(0_u64..)
        .map(|(value, i)| {
            let height = u64::try_from(u128::from(*value) * u128::from(TALL - 2) / u128::from(largest)).unwrap_or(0);
            format!("{},{}", i * 10, TALL - 1 - height)
        })
        .collect();
    let label = title.clone();
    view! {
        <svg class="line" viewBox=format!("0 0 {} {TALL}", gaps * 10) preserveAspectRatio="none" role="img" aria-label=label>
            <title>{title}</title>
            <polyline points=points.join(" ") vector-effect="non-scaling-stroke"></polyline>
        </svg>
    }
}

/// A share of a whole, drawn as a bar in a table cell next to its percentage.
#[component]
pub fn Share(
    /// The part, in the same unit as `whole`. Larger values are clamped to it.
    part: u64,
    /// The whole; 0 is treated as 1.
    whole: u64,
) -> impl IntoView {
    let thousandths = u64::try_from(u128::from(part.min(whole)) * 1000 / u128::from(whole.max(1))).unwrap_or(0);
    view! {
        <span class="share">
            <svg viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">
                <rect class="rest" width="1000" height="10"></rect>
                <rect class="used" width=thousandths.to_string() height="10"></rect>
            </svg>
            <span>{format!("{}.{} %", thousandths / 10, thousandths % 10)}</span>
        </span>
    }
}

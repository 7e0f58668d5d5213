//! Charts, rendered as SVG on the server, with thin axes, direct labels and the same numbers in a collapsible table.

use leptos::prelude::*;

/// A bar of a chart, or a part of a stacked bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Category label. Only the first and last bars' labels are drawn under the axis.
    pub label: String,
    /// Size, in any unit.
    pub value: u64,
    /// The value formatted for display.
    pub text: String,
}

const WIDTH: u64 = 1000;
const HEIGHT: u64 = 160;

/// A bar chart. The largest bar is labeled with its value.
#[component]
pub fn Bars(
    /// Describes the chart to screen readers; also the table's caption.
    #[prop(into)]
    title: String,
    /// The bars, from left to right.
    bars: Vec<Bar>,
) -> impl IntoView {
    let largest = bars.iter().map(|bar| bar.value).max().unwrap_or(0).max(1);
    let count = u64::try_from(bars.len()).unwrap_or(1).max(1);
    let step = WIDTH / count;
    let peak = bars.iter().position(|bar| bar.value == largest);
    let drawn = bars
        .iter()
        .zip(0_u64..)
        .map(|(bar, i)| {
            let height = u64::try_from(u128::from(bar.value) * u128::from(HEIGHT - 24) / u128::from(largest)).unwrap_or(0);
            let height = if bar.value > 0 { height.max(2) } else { 0 };
            let (x, y) = (i * step, HEIGHT - height);
            let is_peak = peak == Some(usize::try_from(i).unwrap_or(0)) && bar.value > 0;
            // A centered label near an edge would be cut off, so it is anchored at that edge instead.
            let anchor = if i * 5 < count { "start" } else if i * 5 >= count * 4 { "end" } else { "middle" };
            view! {
                <g>
                    <rect class="bar" x=(x + 1).to_string() y=y.to_string() width=step.saturating_sub(2).max(1).to_string() height=height.to_string() rx="2">
                        <title>{format!("{}: {}", bar.label, bar.text)}</title>
                    </rect>
                    {is_peak.then(|| view! {
                        <text class="peak" x=(x + step / 2).to_string() y=(y - 6).to_string() text-anchor=anchor>{bar.text.clone()}</text>
                    })}
                </g>
            }
        })
        .collect_view();
    let ends = bars.first().zip(bars.last()).map(|(first, last)| {
        view! { <p class="axis" aria-hidden="true"><span>{first.label.clone()}</span><span>{last.label.clone()}</span></p> }
    });
    let rows = bars
        .iter()
        .filter(|bar| bar.value > 0)
        .map(|bar| view! { <tr><th scope="row">{bar.label.clone()}</th><td class="end">{bar.text.clone()}</td></tr> })
        .collect_view();
    view! {
        <figure class="chart">
            <svg viewBox=format!("0 0 {WIDTH} {}", HEIGHT + 1) role="img" aria-label=title.clone()>
                {drawn}
                <line class="base" x1="0" y1=HEIGHT.to_string() x2=WIDTH.to_string() y2=HEIGHT.to_string()></line>
            </svg>
            {ends}
            <details>
                <summary>"Show as table"</summary>
                <table class="compact"><caption class="unseen">{title}</caption><tbody>{rows}</tbody></table>
            </details>
        </figure>
    }
}

/// A stacked bar.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Category label. Only the first and last bars' labels are drawn under the axis.
    pub label: String,
    /// The parts of the bar. A part's label names its series.
    pub parts: Vec<Bar>,
}

/// Number of shades that can be distinguished without color.
const SHADES: usize = 5;

/// A stacked bar chart with the largest series at the bottom. Series beyond the fifth share a shade.
#[component]
pub fn Stacks(
    /// Describes the chart to screen readers; also the table's caption.
    #[prop(into)]
    title: String,
    /// The bars, from left to right.
    stacks: Vec<Stack>,
) -> impl IntoView {
    let sum = |stack: &Stack| stack.parts.iter().map(|part| u128::from(part.value)).sum::<u128>();
    let largest = stacks.iter().map(sum).max().unwrap_or(0).max(1);
    let mut series: Vec<(String, u128)> = Vec::new();
    for part in stacks.iter().flat_map(|stack| &stack.parts) {
        match series.iter_mut().find(|(name, _)| *name == part.label) {
            Some((_, all)) => *all += u128::from(part.value),
            None => series.push((part.label.clone(), u128::from(part.value))),
        }
    }
    series.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let shade = |name: &str| series.iter().position(|(known, _)| known == name).unwrap_or(0).min(SHADES - 1);
    let count = u64::try_from(stacks.len()).unwrap_or(1).max(1);
    // Limits the bar width, so that two bars don't fill the page.
    let step = (WIDTH / count).clamp(1, 80);
    let drawn = stacks
        .iter()
        .zip(0_u64..)
        .map(|(stack, i)| {
            let mut parts: Vec<&Bar> = stack.parts.iter().filter(|part| part.value > 0).collect();
            parts.sort_by_key(|part| shade(&part.label));
            let mut below = 0_u128;
            let rects = parts
                .into_iter()
                .map(|part| {
                    let scaled = |value: u128| u64::try_from(value * u128::from(HEIGHT - 24) / largest).unwrap_or(0);
                    let (bottom, top) = (scaled(below), scaled(below + u128::from(part.value)));
                    below += u128::from(part.value);
                    let height = (top - bottom).max(1);
                    view! {
                        <rect class=format!("bar s{}", shade(&part.label)) x=(i * step + 1).to_string() y=(HEIGHT - bottom - height).to_string() width=step.saturating_sub(2).max(1).to_string() height=height.to_string()>
                            <title>{format!("{}, {}: {}", stack.label, part.label, part.text)}</title>
                        </rect>
                    }
                })
                .collect_view();
            view! { <g>{rects}</g> }
        })
        .collect_view();
    let key = series
        .iter()
        .map(|(name, _)| {
            let class = format!("bar s{}", shade(name));
            view! { <li><svg viewBox="0 0 10 10" aria-hidden="true"><rect class=class width="10" height="10"></rect></svg>{name.clone()}</li> }
        })
        .collect_view();
    let ends = stacks.first().zip(stacks.last()).map(|(first, last)| {
        view! { <p class="axis" aria-hidden="true"><span>{first.label.clone()}</span><span>{last.label.clone()}</span></p> }
    });
    let rows = stacks
        .iter()
        .flat_map(|stack| stack.parts.iter().map(move |part| (stack.label.clone(), part)))
        .map(|(day, part)| view! { <tr><th scope="row">{day}</th><td>{part.label.clone()}</td><td class="end">{part.text.clone()}</td></tr> })
        .collect_view();
    view! {
        <figure class="chart stacks">
            <svg viewBox=format!("0 0 {WIDTH} {}", HEIGHT + 1) role="img" aria-label=title.clone()>
                {drawn}
                <line class="base" x1="0" y1=HEIGHT.to_string() x2=WIDTH.to_string() y2=HEIGHT.to_string()></line>
            </svg>
            {ends}
            <ul class="key">{key}</ul>
            <details>
                <summary>"Show as table"</summary>
                <table class="compact"><caption class="unseen">{title}</caption><tbody>{rows}</tbody></table>
            </details>
        </figure>
    }
}

/// A sparkline for a table cell, showing a value day by day.
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
    let step = 120 / u64::try_from(values.len().saturating_sub(1)).unwrap_or(1).max(1);
    let points: Vec<String> = values
        .iter()
        .zip(0_u64..)
        .map(|(value, i)| {
            let height = u64::try_from(u128::from(*value) * u128::from(TALL - 2) / u128::from(largest)).unwrap_or(0);
            format!("{},{}", i * step, TALL - 1 - height)
        })
        .collect();
    let wide = step * u64::try_from(values.len().saturating_sub(1)).unwrap_or(1).max(1);
    let label = title.clone();
    view! {
        <svg class="line" viewBox=format!("0 0 {wide} {TALL}") preserveAspectRatio="none" role="img" aria-label=label>
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

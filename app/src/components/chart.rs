//! Charts as SVG from the server: thin axes, direct labels, the same numbers in a table one click away.

use leptos::prelude::*;

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Under the axis, where there is room.
    pub label: String,
    /// Its size, in whatever unit.
    pub value: u64,
    /// The value in words.
    pub text: String,
}

const WIDTH: u64 = 1000;
const HEIGHT: u64 = 160;

/// Bars over days, the largest labelled.
#[component]
pub fn Bars(
    /// What it shows, for screen readers and the table's caption.
    #[prop(into)]
    title: String,
    /// The bars, in order.
    bars: Vec<Bar>,
) -> impl IntoView {
    let most = bars.iter().map(|bar| bar.value).max().unwrap_or(0).max(1);
    let count = u64::try_from(bars.len()).unwrap_or(1).max(1);
    let step = WIDTH / count;
    let peak = bars.iter().position(|bar| bar.value == most);
    let drawn = bars
        .iter()
        .zip(0_u64..)
        .map(|(bar, i)| {
            let height = u64::try_from(u128::from(bar.value) * u128::from(HEIGHT - 24) / u128::from(most)).unwrap_or(0);
            let height = if bar.value > 0 { height.max(2) } else { 0 };
            let (x, y) = (i * step, HEIGHT - height);
            let is_peak = peak == Some(usize::try_from(i).unwrap_or(0)) && bar.value > 0;
            // A label near an edge would be cut off: it leans inwards.
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
                <summary>"As a table"</summary>
                <table class="compact"><caption class="unseen">{title}</caption><tbody>{rows}</tbody></table>
            </details>
        </figure>
    }
}

/// A share of a whole as a bar inside a cell, with its number.
#[component]
pub fn Share(
    /// The part.
    part: u64,
    /// The whole.
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

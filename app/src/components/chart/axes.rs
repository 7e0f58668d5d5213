//! What all charts share: the axes, the gridlines, and the table below.

use super::scale::{Scale, number, percent};
use leptos::prelude::*;

/// Maximum number of labels below a chart. Phones show every second one.
const LABELS: usize = 8;

/// Draws a chart.
pub(super) struct Chart {
    /// Describes the chart to screen readers; also the table's caption.
    pub title: String,
    /// The axis of the values.
    pub scale: Scale,
    /// One label per bar. Only as many as fit are drawn.
    pub labels: Vec<String>,
    /// The bars.
    pub bars: AnyView,
    /// The names of the series; empty if there is only one.
    pub key: AnyView,
    /// Head and rows of the table with the same numbers.
    pub table: AnyView,
}

impl Chart {
    /// Renders the figure.
    pub(super) fn draw(self) -> impl IntoView {
        let Self { title, scale, labels, bars, key, table } = self;
        let ticks = scale.ticks();
        let lines = ticks.iter().enumerate().map(|(n, (_, y))| {
            let class = if n == 0 { "base" } else { "grid" };
            view! { <line class=class x1="0" x2="100%" y1=y.clone() y2=y.clone()></line> }
        });
        let lines = lines.collect_view();
        let numbers = ticks
            .into_iter()
            .map(|(label, y)| view! { <text x="100%" y=y text-anchor="end">{label}</text> })
            .collect_view();
        view! {
            <figure class="chart">
                <div class="chart-area">
                    <svg class="y-axis" aria-hidden="true">{numbers}</svg>
                    <svg class="plot" role="img" aria-label=title.clone()>{lines}{bars}</svg>
                    <svg class="x-axis" aria-hidden="true">{below(&labels)}</svg>
                </div>
                {key}
                <details>
                    <summary>"Show as table"</summary>
                    <div class="table-scroll" tabindex="0" role="region" aria-label=title.clone()>
                        <table class="compact numbers"><caption class="unseen">{title.clone()}</caption>{table}</table>
                    </div>
                </details>
            </figure>
        }
    }
}

/// Renders the labels below the bars, at even distances.
fn below(labels: &[String]) -> Vec<AnyView> {
    let every = labels.len().div_ceil(LABELS).max(1);
    let count = number(labels.len());
    let drawn = labels.iter().enumerate().step_by(every).map(|(index, label)| {
        // The last bar's label would be cut off if it were centered.
        let is_at_edge = index + 1 == labels.len() && labels.len() > LABELS;
        let (x, anchor) = match is_at_edge {
            true => ("100%".to_owned(), "end"),
            false => (percent(2 * number(index) + 1, 2 * count), "middle"),
        };
        view! { <text x=x y="50%" text-anchor=anchor>{label.clone()}</text> }.into_any()
    });
    drawn.collect()
}

/// Returns the left edge and the width of a bar, of which there are `count`.
pub(super) fn bar_place(index: usize, count: usize) -> (String, String) {
    // Percent of its slot that a bar fills: few bars are drawn narrower, and many need no wide gaps.
    let fill = match count {
        0..=3 => 40,
        4..=60 => 80,
        _ => 90,
    };
    let whole = number(count) * 100;
    (percent(number(index) * 100 + (100 - fill) / 2, whole), percent(fill, whole))
}

/// Renders the invisible area over the full height of a bar that shows its value on hover.
pub(super) fn hover_area(index: usize, count: usize, text: String) -> impl IntoView {
    let (x, width) = (percent(number(index), number(count)), percent(1, number(count)));
    view! { <rect class="area" x=x y="0" width=width height="100%"><title>{text}</title></rect> }
}

/// Renders what is shown instead of a chart without values, at the chart's height.
pub(super) fn empty(title: String) -> AnyView {
    view! {
        <figure class="chart" aria-label=title>
            <p class="chart-empty">"No usage in this period."</p>
        </figure>
    }
    .into_any()
}

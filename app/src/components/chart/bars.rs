//! The bar chart.

use super::axes::{Chart, bar_place, empty, hover_area};
use super::scale::{Scale, Unit};
use leptos::prelude::*;

/// A bar of a chart.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Category label, drawn below the axis where there is room.
    pub label: String,
    /// Size, in the unit of the chart.
    pub value: u64,
    /// The value formatted for display.
    pub text: String,
}

/// A bar chart.
#[component]
pub fn Bars(
    /// Describes the chart to screen readers; also the table's caption.
    #[prop(into)]
    title: String,
    /// The bars, from left to right.
    bars: Vec<Bar>,
    /// What the values are.
    unit: Unit,
) -> impl IntoView {
    let largest = bars.iter().map(|bar| bar.value).max().unwrap_or(0);
    if largest == 0 {
        return empty(title);
    }
    let (scale, count) = (Scale::new(largest, unit), bars.len());
    let drawn = bars.iter().enumerate().map(|(index, bar)| {
        let ((x, width), (y, height)) = (bar_place(index, count), scale.part(0, bar.value));
        view! {
            <g>
                {hover_area(index, count, format!("{}: {}", bar.label, bar.text))}
                <rect class="bar s1" x=x y=y width=width height=height rx="2"></rect>
            </g>
        }
    });
    let drawn = drawn.collect_view().into_any();
    let rows = bars
        .iter()
        .filter(|bar| bar.value > 0)
        .map(|bar| view! { <tr><th scope="row">{bar.label.clone()}</th><td class="end">{bar.text.clone()}</td></tr> })
        .collect_view();
    let table = view! { <tbody>{rows}</tbody> }.into_any();
    let labels = bars.into_iter().map(|bar| bar.label).collect();
    Chart { title, scale, labels, bars: drawn, key: ().into_any(), table }.draw().into_any()
}

//! The stacked bar chart.

use super::axes::{Chart, bar_place, empty, hover_area};
use super::scale::{Scale, Unit};
use leptos::prelude::*;
use std::collections::BTreeMap;

/// A stacked bar.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Category label, drawn below the axis where there is room.
    pub label: String,
    /// The parts of the bar: name of the series, and size in the unit of the chart.
    pub parts: Vec<(String, u64)>,
}

impl Stack {
    fn sum(&self) -> u64 {
        self.parts.iter().fold(0, |sum, (_, value)| sum.saturating_add(*value))
    }
}

/// Number of series with a color of their own. The colors differ in lightness too, so that they are distinguishable without hue.
const SERIES: usize = 8;

/// The series of a chart, the largest first.
struct Series {
    names: Vec<String>,
    /// Whether there are more, which are drawn as one.
    has_other: bool,
}

impl Series {
    fn of(stacks: &[Stack]) -> Self {
        let mut sums: BTreeMap<&str, u128> = BTreeMap::new();
        for (name, value) in stacks.iter().flat_map(|stack| &stack.parts) {
            *sums.entry(name.as_str()).or_default() += u128::from(*value);
        }
        let mut sums: Vec<(&str, u128)> = sums.into_iter().filter(|(_, sum)| *sum > 0).collect();
        // Stable, so that equal series stay in the order of their names.
        sums.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
        let names = sums.iter().take(SERIES).map(|(name, _)| (*name).to_owned()).collect();
        Self { names, has_other: sums.len() > SERIES }
    }

    /// Returns the name and the class of each series, those that are drawn as one included.
    fn all(&self) -> Vec<(String, String)> {
        let named = self.names.iter().enumerate().map(|(n, name)| (name.clone(), format!("bar s{}", n + 1)));
        let other = self.has_other.then(|| ("Other".to_owned(), "bar other".to_owned()));
        named.chain(other).collect()
    }

    /// Returns the values of a bar in the order of [`all`](Self::all).
    fn values(&self, stack: &Stack) -> Vec<u64> {
        let mut values = vec![0_u64; self.names.len() + usize::from(self.has_other)];
        for (name, value) in &stack.parts {
            let index = self.names.iter().position(|known| known == name).unwrap_or(self.names.len());
            if let Some(sum) = values.get_mut(index) {
                *sum = sum.saturating_add(*value);
            }
        }
        values
    }
}

/// A stacked bar chart with the largest series at the bottom. Series beyond the eighth are drawn as "Other".
#[component]
pub fn Stacks(
    /// Describes the chart to screen readers; also the table's caption.
    #[prop(into)]
    title: String,
    /// The bars, from left to right.
    stacks: Vec<Stack>,
    /// What the values are.
    unit: Unit,
) -> impl IntoView {
    let largest = stacks.iter().map(Stack::sum).max().unwrap_or(0);
    if largest == 0 {
        return empty(title);
    }
    let (scale, series) = (Scale::new(largest, unit), Series::of(&stacks));
    let names = series.all();
    let count = stacks.len();
    let drawn = stacks.iter().enumerate().map(|(index, stack)| {
        let (x, width) = bar_place(index, count);
        let mut below = 0_u64;
        let parts = series.values(stack).into_iter().zip(&names).filter(|(value, _)| *value > 0).map(|(value, (name, class))| {
            let (y, height) = scale.part(below, below.saturating_add(value));
            below = below.saturating_add(value);
            let text = format!("{}, {name}: {}", stack.label, unit.text(value));
            view! { <rect class=class.clone() x=x.clone() y=y width=width.clone() height=height><title>{text}</title></rect> }
        });
        let parts = parts.collect_view();
        view! { <g>{hover_area(index, count, format!("{}: {}", stack.label, unit.text(stack.sum())))}{parts}</g> }
    });
    let drawn = drawn.collect_view().into_any();
    let table = table(&stacks, &series, unit);
    let labels = stacks.into_iter().map(|stack| stack.label).collect();
    Chart { title, scale, labels, bars: drawn, key: key(names), table }.draw().into_any()
}

/// Renders the names of the series with their colors.
fn key(names: Vec<(String, String)>) -> AnyView {
    let items = names.into_iter().map(|(name, class)| {
        view! { <li><svg viewBox="0 0 10 10" aria-hidden="true"><rect class=class width="10" height="10" rx="2"></rect></svg><span class="long">{name}</span></li> }
    });
    view! { <ul class="key">{items.collect_view()}</ul> }.into_any()
}

/// Renders the table: a column per series, and the sum.
fn table(stacks: &[Stack], series: &Series, unit: Unit) -> AnyView {
    let heads = series.all().into_iter().map(|(name, _)| view! { <th scope="col" class="end">{name}</th> });
    let heads = heads.collect_view();
    let cell = |value: u64| if value > 0 { unit.text(value) } else { "\u{2013}".to_owned() };
    let rows = stacks.iter().map(|stack| {
        let cells = series.values(stack).into_iter().map(|value| view! { <td class="end">{cell(value)}</td> });
        let cells = cells.collect_view();
        view! { <tr><th scope="row">{stack.label.clone()}</th>{cells}<td class="end">{cell(stack.sum())}</td></tr> }
    });
    let rows = rows.collect_view();
    view! {
        <thead><tr><th scope="col"><span class="unseen">"Time"</span></th>{heads}<th scope="col" class="end">"Total"</th></tr></thead>
        <tbody>{rows}</tbody>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(parts: &[(&str, u64)]) -> Stack {
        let parts = parts.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Stack { label: String::new(), parts }
    }

    #[test]
    fn series_are_ordered_by_size_and_the_smallest_are_one() {
        let few = [stack(&[("a", 1), ("b", 5)]), stack(&[("a", 3), ("none", 0)])];
        let series = Series::of(&few);
        assert_eq!((series.names.as_slice(), series.has_other), (["b".to_owned(), "a".to_owned()].as_slice(), false));
        assert_eq!((series.values(&few[0]), series.values(&few[1])), (vec![5, 1], vec![0, 3]));
        let names: Vec<String> = (0..11).map(|n| format!("model-{n:02}")).collect();
        let parts: Vec<(&str, u64)> = names.iter().map(String::as_str).zip((1..=11).rev()).collect();
        let many = stack(&parts);
        let series = Series::of(std::slice::from_ref(&many));
        assert_eq!(series.values(&many), [11, 10, 9, 8, 7, 6, 5, 4, 6], "three, two and one are the rest");
        assert_eq!(series.all().last(), Some(&("Other".to_owned(), "bar other".to_owned())));
        assert_eq!(many.sum(), 66);
    }
}

//! The scale of a chart: the unit of its values, round ticks, and positions as percentages.

use domain::money::grouped;
use domain::{Picos, Tokens};

/// Picodollars of a dollar.
const DOLLAR: u64 = 1_000_000_000_000;

/// What the values of a chart are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Tokens.
    Tokens,
    /// Picodollars.
    Money,
}

impl Unit {
    /// Formats a value exactly.
    pub(super) fn text(self, value: u64) -> String {
        match self {
            Self::Tokens => format!("{} tokens", Tokens(value)),
            Self::Money => Picos(i64::try_from(value).unwrap_or(i64::MAX)).to_string(),
        }
    }

    /// Formats a tick of the axis, in few characters.
    fn tick(self, value: u64) -> String {
        match self {
            Self::Tokens => short(value),
            Self::Money if value.is_multiple_of(DOLLAR) => format!("${}", grouped(&(value / DOLLAR).to_string())),
            Self::Money => self.text(value),
        }
    }
}

/// Formats a tick with a suffix for thousands, millions and so on. A tick has at most two digits that aren't zero.
fn short(value: u64) -> String {
    let unit = [(1_000_000_000_000, "T"), (1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")];
    match unit.into_iter().find(|(unit, _)| value >= *unit) {
        None => value.to_string(),
        Some((unit, name)) => match value % unit / (unit / 10) {
            0 => format!("{}{name}", grouped(&(value / unit).to_string())),
            tenths => format!("{}.{tenths}{name}", value / unit),
        },
    }
}

/// An axis from zero to a round number.
pub(super) struct Scale {
    step: u64,
    top: u64,
    unit: Unit,
}

impl Scale {
    /// Returns a scale with at most four steps that reaches `largest`.
    pub(super) fn new(largest: u64, unit: Unit) -> Self {
        let step = step(largest);
        Self { step, top: largest.div_ceil(step).max(1).saturating_mul(step), unit }
    }

    /// Returns the ticks from the bottom to the top: label, and distance from the top.
    pub(super) fn ticks(&self) -> Vec<(String, String)> {
        let values = (0..=self.top / self.step).map(|n| n * self.step);
        values.map(|value| (self.unit.tick(value), percent(self.top - value, self.top))).collect()
    }

    /// Returns the distance from the top and the height of a part of a bar between two values. A part that isn't empty is visible.
    pub(super) fn part(&self, bottom: u64, top: u64) -> (String, String) {
        let visible = if top > bottom { self.top / 200 } else { 0 };
        let top = top.max(bottom.saturating_add(visible)).min(self.top);
        (percent(self.top - top, self.top), percent(top.saturating_sub(bottom), self.top))
    }
}

/// Returns the smallest of 1, 2, 5, 10, 20, 50 and so on of which four reach `largest`.
fn step(largest: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            let step = unit.saturating_mul(factor);
            if step.saturating_mul(4) >= largest {
                return step;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// Formats a share as a percentage with three decimals, as attributes of SVG take it.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let thousandths = u128::from(part) * 100_000 / u128::from(whole.max(1));
    format!("{}.{:03}%", thousandths / 1_000, thousandths % 1_000)
}

/// Converts a number of elements.
pub(super) fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(largest: u64, unit: Unit) -> Vec<String> {
        Scale::new(largest, unit).ticks().into_iter().map(|(label, _)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_reach_the_largest_value() {
        assert_eq!(ticks(0, Unit::Tokens), ["0", "1"]);
        assert_eq!(ticks(3, Unit::Tokens), ["0", "1", "2", "3"]);
        assert_eq!(ticks(50_000, Unit::Tokens), ["0", "20k", "40k", "60k"]);
        assert_eq!(ticks(1_700, Unit::Tokens), ["0", "500", "1k", "1.5k", "2k"]);
        assert_eq!(ticks(6_400_000, Unit::Tokens), ["0", "2M", "4M", "6M", "8M"]);
        assert_eq!(ticks(7 * DOLLAR / 2, Unit::Money), ["$0", "$1", "$2", "$3", "$4"]);
        assert_eq!(ticks(DOLLAR * 3 / 10, Unit::Money), ["$0", "$0.10", "$0.20", "$0.30"]);
        assert_eq!(ticks(9_000 * DOLLAR, Unit::Money), ["$0", "$5,000", "$10,000"]);
        assert!(ticks(u64::MAX, Unit::Tokens).len() <= 5);
    }

    #[test]
    fn parts_are_placed_from_the_top_and_stay_visible() {
        let scale = Scale::new(400, Unit::Tokens);
        assert_eq!(scale.part(0, 400), ("0.000%".to_owned(), "100.000%".to_owned()));
        assert_eq!(scale.part(100, 300), ("25.000%".to_owned(), "50.000%".to_owned()));
        assert_eq!(scale.part(100, 100), ("75.000%".to_owned(), "0.000%".to_owned()));
        assert_eq!(scale.part(0, 1).1, "0.500%");
        assert_eq!(scale.part(400, 400).1, "0.000%");
    }

    #[test]
    fn ticks_are_placed_from_the_bottom_to_the_top() {
        let places: Vec<String> =
            Scale::new(4, Unit::Tokens).ticks().into_iter().map(|(_, from_top)| from_top).collect();
        assert_eq!(places, ["100.000%", "75.000%", "50.000%", "25.000%", "0.000%"]);
    }
}

//! How a catalogue differs from the prices and end dates here.

use super::{CatalogueEntry, CatalogueTier};
use crate::{MicrosPerMillion, ModelName};
use serde::{Deserialize, Serialize};
use time::Date;

/// The differences between a catalogue's entry and a model in the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The model.
    pub model: ModelName,
    /// Tiers whose prices differ, the base tier first.
    pub prices: Vec<PriceChange>,
    /// The end date, if it differs.
    pub ends_at: Option<EndChange>,
    /// Why the catalogue's prices can't be used; `prices` is empty then.
    pub error: Option<String>,
}

/// A tier whose prices differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceChange {
    /// The prices that apply to such prompts here; `None` if the model has no price.
    pub old: Option<CatalogueTier>,
    /// The prices of the catalogue. A price that the catalogue doesn't name is the one from here.
    pub new: CatalogueTier,
}

/// An end date that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndChange {
    /// The date here.
    pub old: Option<Date>,
    /// The date in the catalogue.
    pub new: Date,
}

/// One price of a tier that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceLine {
    /// The kind of tokens: `input`, `cache read`, `cache write`, `long cache write` or `output`.
    pub what: &'static str,
    /// The price that applies here; `None` if the model has no price.
    pub old: Option<MicrosPerMillion>,
    /// The price in the catalogue.
    pub new: MicrosPerMillion,
}

impl CatalogueTier {
    /// Returns the price of each kind of token, where a price that isn't known is the one that applies in its place.
    fn rates(&self) -> [(&'static str, MicrosPerMillion); 5] {
        let write = self.cache_write.unwrap_or(self.input);
        [
            ("input", self.input),
            ("cache read", self.cache_read.unwrap_or(self.input)),
            ("cache write", write),
            ("long cache write", self.cache_write_long.unwrap_or(write)),
            ("output", self.output),
        ]
    }
}

impl PriceChange {
    /// Returns the prices that differ.
    #[must_use]
    pub fn lines(&self) -> Vec<PriceLine> {
        let old = self.old.map(|old| old.rates().map(|(_, price)| price));
        let new = self.new.rates().into_iter().enumerate();
        new.map(|(kind, (what, new))| PriceLine { what, old: old.map(|old| old[kind]), new })
            .filter(|line| line.old != Some(line.new))
            .collect()
    }
}

/// Compares a model's tiers and end date with its entry. Returns `None` if nothing differs. An end date is never removed, and a tier that the
/// catalogue doesn't have is compared with the catalogue's tier for such prompts.
#[must_use]
pub fn compare(
    model: &ModelName,
    tiers: &[CatalogueTier],
    ends_at: Option<Date>,
    entry: &CatalogueEntry,
) -> Option<Difference> {
    let mut bounds: Vec<Option<u64>> = tiers.iter().chain(&entry.tiers).map(|tier| tier.above).collect();
    bounds.sort_unstable();
    bounds.dedup();
    let prices = bounds.into_iter().filter_map(|above| {
        let (old, listed) = (tier_of(tiers, above), tier_of(&entry.tiers, above)?);
        let new = CatalogueTier {
            above,
            cache_read: listed.cache_read.or(old.and_then(|old| old.cache_read)),
            cache_write: listed.cache_write.or(old.and_then(|old| old.cache_write)),
            cache_write_long: listed.cache_write_long.or(old.and_then(|old| old.cache_write_long)),
            ..*listed
        };
        let change = PriceChange { old: old.copied(), new };
        (!change.lines().is_empty()).then_some(change)
    });
    let difference = Difference {
        model: model.clone(),
        prices: prices.collect(),
        ends_at: entry.ends_at.filter(|new| ends_at != Some(*new)).map(|new| EndChange { old: ends_at, new }),
        error: entry.error.as_ref().map(ToString::to_string),
    };
    let differs = !difference.prices.is_empty() || difference.ends_at.is_some() || difference.error.is_some();
    differs.then_some(difference)
}

/// Returns the tier that applies to prompts with more tokens than `above`.
fn tier_of(tiers: &[CatalogueTier], above: Option<u64>) -> Option<&CatalogueTier> {
    tiers.iter().filter(|tier| tier.above <= above).max_by_key(|tier| tier.above)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::parse;
    use time::macros::date;

    const CATALOGUE: &str = r#"{
        "gpt-6-luna": {
            "input_cost_per_token": 1e-07, "output_cost_per_token": 5e-07, "cache_read_input_token_cost": 1e-08,
            "cache_creation_input_token_cost": 1.25e-07, "cache_creation_input_token_cost_above_12hr": 2.5e-07,
            "input_cost_per_token_above_272k_tokens": 2e-07, "output_cost_per_token_above_272k_tokens": 7.5e-07,
            "cache_creation_input_token_cost_above_12hr_above_272k_tokens": 5e-07
        },
        "openrouter/gpt-6-luna": {"input_cost_per_token": 2e-07, "output_cost_per_token": 6e-07, "deprecation_date": "2026-12-11"},
        "uneven": {"input_cost_per_token": 1.0000000000000001e-07, "output_cost_per_token": 5e-07}
    }"#;

    fn price(micros: i64) -> MicrosPerMillion {
        MicrosPerMillion(micros)
    }

    fn entry(name: &str) -> CatalogueEntry {
        parse(CATALOGUE).unwrap().into_iter().find(|entry| entry.name == name).unwrap()
    }

    #[test]
    fn only_what_differs_is_reported() {
        let luna = ModelName("gpt-6-luna".to_owned());
        let listed = entry("gpt-6-luna");
        assert_eq!(compare(&luna, &listed.tiers, None, &listed), None);
        // Without prices here, both tiers are new.
        let all = compare(&luna, &[], None, &listed).unwrap();
        assert_eq!(all.prices.iter().map(|change| change.old).collect::<Vec<_>>(), [None, None]);
        // A tier that is missing here is compared with the tier that applies to its prompts.
        let change = compare(&luna, &listed.tiers[..1], None, &listed).unwrap().prices;
        assert_eq!(change, [PriceChange { old: Some(listed.tiers[0]), new: listed.tiers[1] }]);
        let lines: Vec<_> = change[0].lines().into_iter().map(|line| (line.what, line.old, line.new)).collect();
        let expected = [
            ("input", Some(price(100_000)), price(200_000)),
            ("long cache write", Some(price(250_000)), price(500_000)),
            ("output", Some(price(500_000)), price(750_000)),
        ];
        assert_eq!(lines, expected);
        // A tier that isn't in the catalogue gets the catalogue's base prices; cache prices that the catalogue lacks are kept.
        let other = entry("openrouter/gpt-6-luna");
        let difference = compare(&luna, &listed.tiers, Some(date!(2026 - 12 - 01)), &other).unwrap();
        assert_eq!(difference.prices.len(), 2);
        assert_eq!(difference.prices[1].new.above, Some(272_000));
        assert_eq!(difference.prices[1].new.cache_write_long, Some(price(500_000)));
        assert_eq!(difference.prices[1].new.output, price(600_000));
        let end = EndChange { old: Some(date!(2026 - 12 - 01)), new: date!(2026 - 12 - 11) };
        assert_eq!(difference.ends_at, Some(end));
        // An end date that isn't in the catalogue is kept.
        assert_eq!(compare(&luna, &listed.tiers, Some(date!(2026 - 12 - 01)), &listed), None);
        let error = compare(&luna, &listed.tiers, None, &entry("uneven")).unwrap();
        assert!(error.prices.is_empty() && error.error.is_some());
    }
}

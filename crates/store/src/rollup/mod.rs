//! Sums of the ledger for the owner's pages.
//!
//! `usage_hour` and `usage_day` hold the sums per user and model; a trigger of the ledger maintains them in the transaction that makes a row
//! final. `usage_key` holds them per API key and half hour, for the meters and the page of keys; another trigger maintains it.
//! `usage_total` (per hour and model) and the `ttft_*` histograms are shared by all users, so the trigger only appends to `usage_delta` and
//! [`refresh`] folds it in once a minute: folded plus unfolded rows equal the ledger at any moment. The same holds for `cache_saving`, what
//! prompt caching saved per hour and model, and for `cache_write_long`, the tokens written to caches with the longer lifetime, which have a queue
//! of their own. `usage_report` holds the standard periods of `/admin` as of the last refresh.

mod provider_hours;
mod rebuild;
mod refresh;
mod summary;
mod totals;

pub use provider_hours::{ProviderHour, provider_hours};
pub use rebuild::rebuild;
pub use refresh::{Freshness, freshness, refresh};
pub use summary::{LargeShare, Summary, as_of, cache_savings, large_shares, summary};
pub use totals::{
    Include, Interval, IntervalTotals, PeriodFigures, PeriodTotals, Totals, figures, spent_in_a_day,
    spent_in_whole_hours, totals,
};

use std::ops::AddAssign;

/// Sums of one user's ledger rows. Corrections are signed, so that any of them may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Turns.
    pub requests: i64,
    /// Uncached input tokens.
    pub input: i64,
    /// Input tokens read from or written to caches.
    pub cached: i64,
    /// Output tokens.
    pub output: i64,
    /// Input tokens as estimated before the call.
    pub estimated: i64,
    /// Cost in picodollars.
    pub cost: i64,
}

impl Sums {
    /// Returns the total number of tokens.
    #[must_use]
    pub fn tokens(&self) -> i64 {
        self.input.saturating_add(self.cached).saturating_add(self.output)
    }
}

impl AddAssign<&Self> for Sums {
    fn add_assign(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.input = self.input.saturating_add(other.input);
        self.cached = self.cached.saturating_add(other.cached);
        self.output = self.output.saturating_add(other.output);
        self.estimated = self.estimated.saturating_add(other.estimated);
        self.cost = self.cost.saturating_add(other.cost);
    }
}

//! Shared code of the benchmarks: processes that they start and measure, users who chat over HTTP, a proxy to compare with, and printing of
//! results.

pub mod pass_through;
pub mod process;
pub mod user;

use std::io::Write as _;
use std::time::Duration;

/// Prints one result line: a label and its value.
///
/// # Errors
/// Returns an error if writing to standard output fails.
pub fn print_result(name: &str, what: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{name:58} {what}")?)
}

/// Returns the `share`th percentile of `times`, and sorts them. Zero if there are none.
pub fn percentile(times: &mut [Duration], share: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * share / 100).copied().unwrap_or(Duration::ZERO)
}

/// Formats a duration in milliseconds with three decimals.
#[must_use]
pub fn ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

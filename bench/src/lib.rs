//! What benchmarks have in common: processes that they start and measure, users who chat over HTTP, and how figures are printed.

pub mod process;
pub mod user;

use std::io::Write as _;
use std::time::Duration;

/// Prints a figure.
///
/// # Errors
/// Returns an error if standard output can't be written.
pub fn tell(name: &str, what: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{name:58} {what}")?)
}

/// The time that so many per cent stayed within.
pub fn at(times: &mut [Duration], share: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * share / 100).copied().unwrap_or(Duration::ZERO)
}

/// A time in milliseconds.
#[must_use]
pub fn ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

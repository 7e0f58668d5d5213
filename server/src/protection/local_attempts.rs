//! Counts attempts in this process while Redis is unavailable.

use super::wait_ms;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use quota::AttemptCount;
use std::num::NonZeroU32;

/// Cells per key, of which one is refilled per second: together those of 15 minutes. An attempt takes as many as its limit allows for.
const CELLS: NonZeroU32 = NonZeroU32::new(900).expect("more than zero");
const PER_SECOND: NonZeroU32 = NonZeroU32::new(1).expect("more than zero");

/// Attempts of this process, by key.
pub(crate) struct LocalAttempts {
    cells: DefaultKeyedRateLimiter<String>,
}

impl LocalAttempts {
    pub(crate) fn new() -> Self {
        Self { cells: RateLimiter::keyed(Quota::per_second(PER_SECOND).allow_burst(CELLS)) }
    }

    /// Counts an attempt under `key`, of which `limit` are allowed in 15 minutes. The number of earlier attempts isn't known: it is reported
    /// as zero.
    pub(crate) fn count(&self, key: &str, limit: u64) -> AttemptCount {
        match self.cells.check_key_n(&key.to_owned(), cells_per_attempt(limit)) {
            Ok(Err(until)) => AttemptCount::Refused { retry_after_ms: wait_ms(&until) },
            Ok(Ok(())) | Err(_) => AttemptCount::Counted(0),
        }
    }

    /// Removes keys whose attempts are all refilled.
    pub(super) fn sweep(&self) {
        self.cells.retain_recent();
    }
}

fn cells_per_attempt(limit: u64) -> NonZeroU32 {
    let cells = u64::from(CELLS.get()) / limit.max(1);
    u32::try_from(cells).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_attempts_fit_as_the_limit_allows() {
        for limit in [1, 3, 10, 60, 900] {
            let attempts = LocalAttempts::new();
            let counted = (0..limit + 1).take_while(|_| attempts.count("a", limit) == AttemptCount::Counted(0)).count();
            // A second may pass meanwhile, which refills a cell: an attempt of the highest limit.
            assert!(counted as u64 >= limit && counted as u64 <= limit + 1, "{counted} of {limit}");
            let AttemptCount::Refused { retry_after_ms } = attempts.count("a", 1) else { panic!("not refused") };
            assert!((1..=900_000).contains(&retry_after_ms), "{retry_after_ms}");
            assert_eq!(attempts.count("b", limit), AttemptCount::Counted(0), "keys are apart");
        }
        assert_eq!(
            (cells_per_attempt(0).get(), cells_per_attempt(10).get(), cells_per_attempt(1 << 40).get()),
            (900, 90, 1)
        );
    }
}

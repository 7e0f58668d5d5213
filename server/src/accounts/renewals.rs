//! Which sessions this server has renewed lately, so that most requests need no query for it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use time::{Duration, OffsetDateTime};

/// How often a session in use is renewed.
const PERIOD: Duration = Duration::HOUR;
/// Maximum number of sessions to remember. Beyond it, some are renewed more often than once per period, which only costs a query.
const CAPACITY: usize = 50_000;

/// The sessions that were renewed in the last hour, by the hash of their token.
#[derive(Default)]
pub(crate) struct Renewals(Mutex<HashMap<[u8; 32], OffsetDateTime>>);

impl Renewals {
    /// Returns whether a session is due to be renewed. If so, it counts as renewed from `now` on.
    pub(crate) fn take_due(&self, token_hash: [u8; 32], now: OffsetDateTime) -> bool {
        let is_recent = |at: OffsetDateTime| now - at < PERIOD;
        let mut renewed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if renewed.get(&token_hash).is_some_and(|at| is_recent(*at)) {
            return false;
        }
        if renewed.len() >= CAPACITY {
            renewed.retain(|_, at| is_recent(*at));
        }
        if renewed.len() >= CAPACITY {
            renewed.clear();
        }
        renewed.insert(token_hash, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_session_is_due_once_an_hour() {
        let (renewals, now) = (Renewals::default(), datetime!(2026-11-27 12:00 UTC));
        assert!(renewals.take_due([1; 32], now));
        assert!(!renewals.take_due([1; 32], now + Duration::minutes(59)));
        assert!(renewals.take_due([2; 32], now));
        assert!(renewals.take_due([1; 32], now + Duration::HOUR));
    }
}

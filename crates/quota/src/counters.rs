//! Meters with a single window over calls and without a history: attempts, sign-ups, and repeated calls of API keys.

use limits::{Admission, Allowance, Demand, Limits, Store, Unavailable, Window, Windows};

const DAY_MS: u64 = 86_400_000;
const QUARTER_MS: u64 = 900_000;
const HOUR_MS: u64 = 3_600_000;
const MINUTE_MS: u64 = 60_000;

/// Attempts in 15 minutes.
const ATTEMPTS: Windows = Windows::new(&[Window::calls("attempts", QUARTER_MS, 60)]);
/// Attempts in 24 hours.
const DAILY_ATTEMPTS: Windows = Windows::new(&[Window::calls("daily_attempts", DAY_MS, 96)]);
/// Sign-ups in an hour.
const SIGN_UPS: Windows = Windows::new(&[Window::calls("sign_ups", HOUR_MS, 60)]);
/// Calls of a key in a minute that have something in common.
const REPEATS: Windows = Windows::new(&[Window::calls("repeats", MINUTE_MS, 60)]);

/// The meters of what is counted without a history.
#[derive(Clone)]
pub(crate) struct Counters {
    pub attempts: Limits,
    pub daily_attempts: Limits,
    pub sign_ups: Limits,
    pub repeats: Limits,
}

impl Counters {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            attempts: Limits::without_history(store, "attempt", &ATTEMPTS),
            daily_attempts: Limits::without_history(store, "daily_attempt", &DAILY_ATTEMPTS),
            sign_ups: Limits::without_history(store, "sign_up", &SIGN_UPS),
            repeats: Limits::without_history(store, "repeat", &REPEATS),
        }
    }
}

/// The result of counting an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptCount {
    /// Counted: the number of attempts in the window, this one included.
    Counted(u64),
    /// Refused and not counted.
    Refused {
        /// When the next attempt is allowed, in milliseconds.
        retry_after_ms: u64,
    },
}

/// Counts one call in meters with a single window over calls.
pub(crate) async fn count(meters: &Limits, key: &str, limit: u64) -> Result<AttemptCount, Unavailable> {
    let allowance = Allowance { limits: &[limit], in_flight: None };
    let attempt = uuid::Uuid::new_v4().to_string();
    match meters.admit(key, &attempt, allowance, Demand::exactly(0)).await? {
        Admission::Granted(permit) => {
            let snapshot = meters.settle(permit, 0).await?;
            Ok(AttemptCount::Counted(snapshot.window(0).used))
        }
        Admission::Denied(denial) => Ok(AttemptCount::Refused { retry_after_ms: denial.retry_after_ms }),
        // An attempt has no amount and an id of its own.
        Admission::TooLarge { .. } | Admission::Running => Ok(AttemptCount::Counted(0)),
    }
}

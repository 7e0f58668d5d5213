//! The ledger as the history that lost meters are rebuilt from.

use crate::budget::nanos;
use domain::ApiKeyId;
use limits::{History, PastCall};
use std::sync::Arc;
use store::usage::SpendScope;
use time::{Duration, OffsetDateTime};

/// How far back meters are rebuilt: the longest window and its buckets.
const SINCE: Duration = Duration::hours(25);

/// How far back the meters of keys are rebuilt: their longest window and its buckets.
const KEY_SINCE: Duration = Duration::days(31);

pub(crate) fn millis(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

/// The history of a user's meter: ledger rows of the last 25 hours, pending ones as holds.
pub(crate) fn of_user(db: store::Db, now: fn() -> OffsetDateTime) -> History {
    Arc::new(move |subject| {
        let db = db.clone();
        Box::pin(async move {
            let past = store::usage::since(&db, &subject, now() - SINCE).await.map_err(|error| error.to_string())?;
            let call = |past: store::usage::Past| PastCall {
                call: past.turn_id.to_string(),
                at_ms: millis(past.at),
                amount: past.tokens.0,
                running: past.pending,
            };
            Ok(past.into_iter().map(call).collect())
        })
    })
}

/// The history of a budget: ledger sums per 15 minutes, and single turns for the last hour. `scope_of` returns which calls count, given the
/// budget's key.
pub(crate) fn of_budget(db: store::Db, now: fn() -> OffsetDateTime, scope_of: fn(&str) -> SpendScope) -> History {
    Arc::new(move |key| {
        let db = db.clone();
        Box::pin(async move {
            let (now, scope) = (now(), scope_of(&key));
            let past = store::usage::spend_history(&db, &scope, now - SINCE, now - Duration::HOUR).await;
            let call = |past: store::usage::PastUsage| PastCall {
                call: past.call,
                at_ms: millis(past.at),
                amount: nanos(past.cost),
                running: past.pending,
            };
            Ok(past.map_err(|error| error.to_string())?.into_iter().map(call).collect())
        })
    })
}

/// The history of a key's meter, as tokens and cost: ledger sums per half hour, and single turns for the last hour.
pub(crate) fn of_key(db: store::Db, now: fn() -> OffsetDateTime) -> History<[u64; 2]> {
    Arc::new(move |key| {
        let db = db.clone();
        Box::pin(async move {
            let (id, now) = (key.parse::<ApiKeyId>().map_err(|error| error.to_string())?, now());
            let past = store::api_key::history(&db, id, now - KEY_SINCE, now - Duration::HOUR).await;
            let call = |past: store::usage::PastUsage| PastCall {
                call: past.call,
                at_ms: millis(past.at),
                amount: [past.tokens.0, nanos(past.cost)],
                running: past.pending,
            };
            Ok(past.map_err(|error| error.to_string())?.into_iter().map(call).collect())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KEY_WINDOWS;
    use crate::limit::USER_WINDOWS;

    /// A meter that is rebuilt from less than its longest window would forget usage.
    #[test]
    fn histories_cover_every_window() {
        let windows = USER_WINDOWS.as_slice().iter().map(|window| (window, SINCE));
        for (window, since) in windows.chain(KEY_WINDOWS.as_slice().iter().map(|window| (window, KEY_SINCE))) {
            let kept_ms = window.span_ms + 2 * window.width_ms;
            assert!(since.whole_milliseconds() >= i128::from(kept_ms), "{}", window.name);
        }
    }
}

//! The loop breaker: refuses an API key for a few minutes if its calls look like an API client in a loop, over all servers. Identical requests and
//! errors in a row are counted in Redis; the refusal is in the key's row, which each call reads anyway.

use crate::failure::internal;
use crate::mail::{self, Mail};
use domain::{ApiKeyId, Problem, TripReason};
use quota::{AttemptCount, Quotas};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use time::{Duration, OffsetDateTime};

/// How long a key is refused.
const REFUSED_FOR: Duration = Duration::minutes(5);
/// Number of errors in a row within a minute that are a loop.
const ERRORS: u64 = 30;
const MINUTE: Duration = Duration::MINUTE;
/// Number of mails about a key in a day. An API client that continues after each refusal would cause hundreds.
const MAILS: u64 = 3;
/// Bytes of a request's hash that distinguish requests of one key.
const HASH_BYTES: usize = 16;
/// Minimum number of entries in memory at which old ones are removed.
const SWEEP_AT: usize = 10_000;

/// Counts the calls of keys.
pub(crate) struct LoopBreaker {
    db: store::Db,
    quotas: Quotas,
    /// Number of identical requests within a minute that are a loop.
    repeats: u64,
    /// The requests that this server saw, by key and hash.
    seen: Mutex<Recent<String, Seen>>,
    /// The last time this server cleared the errors of a key, because a call succeeded.
    cleared: Mutex<Recent<ApiKeyId, OffsetDateTime>>,
}

/// Entries of the last minute, and older ones. The latter are removed each time the number of entries has doubled, so that a call costs the same
/// on average however many there are.
struct Recent<K, V> {
    entries: HashMap<K, V>,
    sweep_at: usize,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), sweep_at: SWEEP_AT }
    }
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// Returns the entries, without old ones if there are many.
    fn recent_entries(&mut self, is_recent: impl Fn(&V) -> bool) -> &mut HashMap<K, V> {
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, value| is_recent(value));
            self.sweep_at = SWEEP_AT.max(self.entries.len() * 2);
        }
        &mut self.entries
    }
}

/// A request that this server has seen.
#[derive(Clone, Copy)]
struct Seen {
    last: OffsetDateTime,
    /// Whether its calls are counted in Redis, which they are from the second one on.
    is_counted: bool,
}

/// A refusal by the loop breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoopTrip {
    /// What the key's calls did.
    pub reason: TripReason,
    /// When calls are accepted again, in milliseconds.
    pub retry_after_ms: u64,
}

impl LoopTrip {
    /// Returns the problem shown to the caller.
    pub(crate) fn problem(self) -> Problem {
        let what = self.reason.describe();
        let message = format!(
            "This API key {what}, which looks like a loop. It is refused for 5 minutes, and its user is informed by email."
        );
        Problem::attempts_limit(&message, self.retry_after_ms)
    }
}

impl LoopBreaker {
    /// Creates a loop breaker that trips at this number of identical requests within a minute.
    pub(crate) fn new(db: store::Db, quotas: Quotas, repeats: u64) -> Self {
        Self { db, quotas, repeats, seen: Mutex::default(), cleared: Mutex::default() }
    }

    /// Counts a request, whose hash covers all of its content. The first one with a hash costs nothing; only repeated ones are counted in
    /// Redis. If Redis is unavailable, it admits the request: the key's meter then refuses it.
    ///
    /// # Errors
    /// Returns a refusal once the request was repeated too often.
    pub(crate) async fn check(&self, key: ApiKeyId, request_hash: &[u8], now: OffsetDateTime) -> Result<(), LoopTrip> {
        let hash = &request_hash[..request_hash.len().min(HASH_BYTES)];
        let name = format!("{key}/{}", hex::encode(hash));
        for _ in 0..self.note_request(&name, now) {
            match self.quotas.count_repeat(&name, self.repeats).await {
                Ok(AttemptCount::Counted(count)) if count < self.repeats => {}
                Ok(_) => return Err(self.trip(key, TripReason::Repeats, now).await),
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Counts how a call ended. Once there were too many errors in a row, the key's next calls are refused.
    pub(crate) async fn record_outcome(&self, key: ApiKeyId, is_error: bool, now: OffsetDateTime) {
        let name = format!("{key}/errors");
        if is_error {
            lock(&self.cleared).entries.remove(&key);
            if let Ok(AttemptCount::Refused { .. } | AttemptCount::Counted(ERRORS..)) =
                self.quotas.count_repeat(&name, ERRORS).await
            {
                self.trip(key, TripReason::Errors, now).await;
            }
        } else if self.is_clearing_due(key, now) {
            // Errors that can't be cleared now leave the window within a minute.
            let _ = self.quotas.clear_repeats(&name).await;
        }
    }

    /// Records a request. Returns how many calls must be counted in Redis: none for the first one, both for the second.
    fn note_request(&self, name: &str, now: OffsetDateTime) -> u64 {
        let mut seen = lock(&self.seen);
        let seen = seen.recent_entries(|seen| now - seen.last < MINUTE);
        let before = seen.get(name).copied().filter(|seen| now - seen.last < MINUTE);
        seen.insert(name.to_owned(), Seen { last: now, is_counted: before.is_some() });
        match before {
            None => 0,
            Some(Seen { is_counted: false, .. }) => 2,
            Some(Seen { is_counted: true, .. }) => 1,
        }
    }

    /// Returns whether the errors of a key are to be cleared: at most once a second, unless this server saw one since.
    fn is_clearing_due(&self, key: ApiKeyId, now: OffsetDateTime) -> bool {
        let mut cleared = lock(&self.cleared);
        let cleared = cleared.recent_entries(|at| now - *at < MINUTE);
        let is_due = cleared.get(&key).is_none_or(|at| now - *at >= Duration::SECOND);
        if is_due {
            cleared.insert(key, now);
        }
        is_due
    }

    /// Refuses a key from now on. If the refusal can't be stored, this call is still refused.
    async fn trip(&self, key: ApiKeyId, reason: TripReason, now: OffsetDateTime) -> LoopTrip {
        if let Err(error) = self.store_trip(key, reason, now).await {
            internal(&format!("{error:#}"));
        }
        let retry_after_ms = u64::try_from(REFUSED_FOR.whole_milliseconds()).unwrap_or(0);
        LoopTrip { reason, retry_after_ms }
    }

    /// Stores the refusal and queues a mail to the key's user, once per refusal and `MAILS` times a day. Admins are alerted by `admin/alerts.rs`.
    async fn store_trip(&self, key: ApiKeyId, reason: TripReason, now: OffsetDateTime) -> anyhow::Result<()> {
        let mut tx = store::begin(&self.db).await?;
        let Some(tripped) = store::api_key::trip(&mut tx, key, reason, now + REFUSED_FOR, now).await? else {
            return Ok(());
        };
        let mails = self.quotas.count_daily_attempt(&format!("loop-mail/{key}"), MAILS).await;
        if !matches!(mails, Ok(AttemptCount::Refused { .. })) {
            let mail = Mail::ApiKeyLoop { key: tripped.name, key_id: key, reason };
            mail::queue_to(&mut tx, tripped.user_id, &tripped.email, mail, now).await?;
        }
        tx.commit().await?;
        tracing::warn!(%key, reason = reason.as_str(), "API key refused by the loop breaker");
        metrics::counter!("quotient_api_key_loops_total", "reason" => reason.as_str()).increment(1);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quota::Settings;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-27 12:00 UTC);

    /// A loop breaker of one process, whose database isn't reached before it trips.
    fn breaker(repeats: u64) -> LoopBreaker {
        let db = store::Db::lazy("postgres://127.0.0.1:9/none", store::Purpose::Requests).unwrap();
        let settings = Settings { redis_url: None, name: "test".to_owned(), now: OffsetDateTime::now_utc };
        let quotas = Quotas::new(settings, &db).unwrap();
        LoopBreaker::new(db, quotas, repeats)
    }

    #[tokio::test]
    async fn only_repeated_requests_are_counted_and_all_of_them_are() {
        let breaker = breaker(5);
        assert_eq!([0, 1, 2].map(|_| breaker.note_request("a", NOW)), [0, 2, 1]);
        assert_eq!(breaker.note_request("b", NOW), 0);
        assert_eq!(breaker.note_request("a", NOW + MINUTE), 0, "a minute later it is new");
        for n in 0..=SWEEP_AT {
            breaker.note_request(&n.to_string(), NOW + MINUTE);
        }
        let (kept, sweep_at) = {
            let seen = lock(&breaker.seen);
            (seen.entries.len(), seen.sweep_at)
        };
        assert!(kept > SWEEP_AT && sweep_at >= 2 * (kept - 3), "recent entries are rarely looked through: {kept}");
        let (ann, bob) = (ApiKeyId::at(NOW), ApiKeyId::at(NOW));
        for n in 0..4 {
            assert_eq!(breaker.check(ann, b"the same request", NOW).await, Ok(()), "{n}");
            assert_eq!(breaker.check(ann, &[n; 32], NOW).await, Ok(()), "{n}");
        }
        assert_eq!(breaker.check(bob, b"the same request", NOW).await, Ok(()), "of another key");
    }

    #[tokio::test]
    async fn a_success_clears_the_errors_at_most_once_a_second() {
        let (breaker, key) = (breaker(5), ApiKeyId::at(NOW));
        for _ in 0..2 {
            for _ in 1..ERRORS {
                breaker.record_outcome(key, true, NOW).await;
            }
            breaker.record_outcome(key, false, NOW).await;
        }
        assert!(!breaker.is_clearing_due(key, NOW) && breaker.is_clearing_due(key, NOW + Duration::SECOND));
        breaker.record_outcome(key, true, NOW).await;
        assert!(breaker.is_clearing_due(key, NOW), "this server saw an error since");
    }
}

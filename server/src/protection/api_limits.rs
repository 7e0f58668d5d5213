//! Limits requests to `/api/` per session and per address, before anything is loaded for them.

use super::wait_ms;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Number of sessions' worth of requests that one address may make: an office or a mobile network has one address.
const SESSIONS_PER_ADDRESS: NonZeroU32 = NonZeroU32::new(10).expect("more than zero");

/// Names a session without its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey(u64);

/// Requests of this process. They are counted even if they fail.
pub(crate) struct ApiLimits {
    sessions: DefaultKeyedRateLimiter<SessionKey>,
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    hasher: RandomState,
    /// Until when estimates of a size are refused, by session.
    estimates: Mutex<HashMap<(SessionKey, u32), Instant>>,
}

impl ApiLimits {
    /// Creates the limits of a session per minute, and those of an address from them.
    pub(super) fn new(per_minute: NonZeroU32) -> Self {
        let per_address = per_minute.saturating_mul(SESSIONS_PER_ADDRESS);
        Self {
            sessions: RateLimiter::keyed(Quota::per_minute(per_minute)),
            addresses: RateLimiter::keyed(Quota::per_minute(per_address)),
            hasher: RandomState::new(),
            estimates: Mutex::default(),
        }
    }

    /// Returns the key of the session with this token.
    pub(crate) fn session_key(&self, token: &str) -> SessionKey {
        SessionKey(self.hasher.hash_one(token))
    }

    /// Counts a request.
    ///
    /// # Errors
    /// Returns the milliseconds until the next request is allowed if there were too many.
    pub(crate) fn count(&self, address: Option<IpAddr>, session: Option<SessionKey>) -> Result<(), u64> {
        if let Some(address) = address {
            self.addresses.check_key(&address).map_err(|until| wait_ms(&until))?;
        }
        if let Some(session) = session {
            self.sessions.check_key(&session).map_err(|until| wait_ms(&until))?;
        }
        Ok(())
    }

    /// Returns the milliseconds for which an estimate of this size is still refused, because one of about this size was.
    pub(crate) fn refused_estimate(&self, session: SessionKey, bytes: u64, now: Instant) -> Option<u64> {
        let left = self.estimates().get(&(session, size_class(bytes)))?.checked_duration_since(now)?;
        u64::try_from(left.as_millis()).ok().filter(|ms| *ms > 0)
    }

    /// Records that an estimate was refused, so that repeating it costs nothing until then.
    pub(crate) fn note_refused_estimate(&self, session: SessionKey, bytes: u64, retry_after_ms: u64, now: Instant) {
        if let Some(until) = now.checked_add(Duration::from_millis(retry_after_ms)) {
            self.estimates().insert((session, size_class(bytes)), until);
        }
    }

    /// Removes sessions and addresses that have made no requests for a minute, and refusals that are over.
    pub(super) fn sweep(&self, now: Instant) {
        self.sessions.retain_recent();
        self.addresses.retain_recent();
        self.estimates().retain(|_, until| *until > now);
    }

    fn estimates(&self) -> MutexGuard<'_, HashMap<(SessionKey, u32), Instant>> {
        self.estimates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the number of binary digits of a size: sizes of one class differ by a factor of less than two. A refusal doesn't apply to
/// smaller estimates, which may fit, nor to larger ones, which may be refused for another reason.
fn size_class(bytes: u64) -> u32 {
    u64::BITS - bytes.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_and_addresses_are_limited() {
        let limits = ApiLimits::new(NonZeroU32::new(20).unwrap());
        let (ann, bob) = (limits.session_key("ann"), limits.session_key("bob"));
        assert!(ann == limits.session_key("ann") && ann != bob);
        let address = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let counted = (0..100).take_while(|_| limits.count(address(1), Some(ann)).is_ok()).count();
        // A few seconds may pass meanwhile, each of which allows a third of a request.
        assert!((20..60).contains(&counted), "{counted}");
        let wait = (0..100).find_map(|_| limits.count(None, Some(ann)).err()).expect("the limit is reached");
        assert!((1..=3_000).contains(&wait), "{wait}");
        assert!(limits.count(address(1), Some(bob)).is_ok() && limits.count(None, None).is_ok());
        // Sessions of one address, each with a token of its own, share what the address may do.
        let counted = (0..1_000)
            .take_while(|n| limits.count(address(2), Some(limits.session_key(&n.to_string()))).is_ok())
            .count();
        assert!((200..600).contains(&counted), "{counted}");
        assert!(limits.count(address(3), Some(limits.session_key("more"))).is_ok());
    }

    #[test]
    fn a_refused_estimate_is_refused_again_until_it_fits() {
        let limits = ApiLimits::new(NonZeroU32::MIN);
        let (ann, bob, now) = (limits.session_key("ann"), limits.session_key("bob"), Instant::now());
        limits.note_refused_estimate(ann, 1_500_000, 8_000, now);
        assert_eq!(limits.refused_estimate(ann, 1_500_000, now), Some(8_000));
        assert_eq!(limits.refused_estimate(ann, 1_100_000, now + Duration::from_secs(7)), Some(1_000));
        for (session, bytes, seconds) in
            [(bob, 1_500_000, 0), (ann, 700_000, 0), (ann, 3_000_000, 0), (ann, 1_500_000, 8)]
        {
            assert_eq!(limits.refused_estimate(session, bytes, now + Duration::from_secs(seconds)), None);
        }
        limits.sweep(now + Duration::from_secs(9));
        assert!(limits.estimates().is_empty());
        limits.note_refused_estimate(ann, 0, u64::MAX, now);
        assert!(limits.refused_estimate(ann, 1, now).is_none());
    }
}

//! Requests with unknown API keys. An address that sends many of them is refused before a query is made for it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Number of unknown keys that one address may send in a minute. An address may be a whole office.
const UNKNOWN_PER_MINUTE: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);
/// How long a key that worked is remembered, so that its address can be refused without it.
const KNOWN_FOR: Duration = Duration::from_secs(3_600);
/// Maximum number of keys that are remembered.
const MAX_KNOWN: usize = 20_000;

/// Unknown keys by address, and the hashes of keys that this process has found in the database. The latter authenticate no call: each is
/// still looked up.
#[derive(Default)]
pub(crate) struct UnknownKeys {
    addresses: Mutex<HashMap<IpAddr, (Instant, u32)>>,
    known: Mutex<HashMap<[u8; 32], Instant>>,
}

impl UnknownKeys {
    /// Returns the milliseconds for which an address is refused; `None` if it isn't, or if its key was found before.
    pub(crate) fn refused_for_ms(&self, address: Option<IpAddr>, key: Option<&[u8; 32]>, now: Instant) -> Option<u64> {
        let (since, count) = *lock(&self.addresses).get(&address?)?;
        let left = MINUTE.checked_sub(now.saturating_duration_since(since)).filter(|left| !left.is_zero())?;
        if count < UNKNOWN_PER_MINUTE || key.is_some_and(|key| lock(&self.known).contains_key(key)) {
            return None;
        }
        Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1))
    }

    /// Counts a request with an unknown key.
    pub(crate) fn note_unknown(&self, address: Option<IpAddr>, now: Instant) {
        let Some(address) = address else { return };
        let mut addresses = lock(&self.addresses);
        let (since, count) = addresses.entry(address).or_insert((now, 0));
        if now.saturating_duration_since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
    }

    /// Records the hash of a key that was found.
    pub(crate) fn note_known(&self, key: [u8; 32], now: Instant) {
        let mut known = lock(&self.known);
        if known.len() < MAX_KNOWN || known.contains_key(&key) {
            known.insert(key, now);
        }
    }

    /// Removes addresses and keys that no longer matter.
    pub(super) fn sweep(&self, now: Instant) {
        lock(&self.addresses).retain(|_, (since, _)| now.saturating_duration_since(*since) < MINUTE);
        lock(&self.known).retain(|_, at| now.saturating_duration_since(*at) < KNOWN_FOR);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_many_unknown_keys_is_refused_for_a_minute_except_for_its_known_ones() {
        let (keys, now) = (UnknownKeys::default(), Instant::now());
        let (ann, bob) = (Some(IpAddr::from([192, 0, 2, 1])), Some(IpAddr::from([192, 0, 2, 2])));
        keys.note_known([7; 32], now);
        for _ in 0..UNKNOWN_PER_MINUTE {
            assert_eq!(keys.refused_for_ms(ann, None, now), None);
            keys.note_unknown(ann, now);
            keys.note_unknown(None, now);
        }
        assert_eq!(keys.refused_for_ms(ann, None, now + Duration::from_secs(59)), Some(1_000));
        assert!(keys.refused_for_ms(ann, Some(&[8; 32]), now).is_some());
        assert_eq!(keys.refused_for_ms(ann, Some(&[7; 32]), now), None);
        assert_eq!((keys.refused_for_ms(bob, None, now), keys.refused_for_ms(None, None, now)), (None, None));
        let later = now + MINUTE;
        assert_eq!(keys.refused_for_ms(ann, None, later), None);
        keys.note_unknown(ann, later);
        assert_eq!(keys.refused_for_ms(ann, None, later), None, "a new minute begins");
        keys.sweep(later + KNOWN_FOR);
        assert!(lock(&keys.addresses).is_empty() && lock(&keys.known).is_empty());
    }
}

//! A sliding window as a ring of buckets. Pure: the current time is an argument.

use std::collections::BTreeMap;

/// What a window counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Calls, counted when they are admitted.
    Calls,
    /// An amount, such as tokens or money in whole units: reserved on admission, counted on settlement.
    Amount,
}

/// The shape of a sliding window. Its limit is an argument of each call, so that a new limit applies at once and refills nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its name, for users and as part of the stored shape.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Length of the window, in milliseconds.
    pub span_ms: u64,
    /// Length of a bucket, in milliseconds. Usage counts until the last instant of its bucket has left the window, so that no
    /// trailing span ever exceeds its limit. A width of one fiftieth of the span wastes at most 2 %.
    pub width_ms: u64,
}

impl Window {
    /// Creates a window over calls with this number of buckets.
    ///
    /// # Panics
    /// Panics, in constants at compile time, if the buckets don't divide the span.
    #[must_use]
    pub const fn calls(name: &'static str, span_ms: u64, buckets: u64) -> Self {
        Self::new(name, Unit::Calls, span_ms, buckets)
    }

    /// Creates a window over an amount with this number of buckets.
    ///
    /// # Panics
    /// Panics, in constants at compile time, if the buckets don't divide the span.
    #[must_use]
    pub const fn amount(name: &'static str, span_ms: u64, buckets: u64) -> Self {
        Self::new(name, Unit::Amount, span_ms, buckets)
    }

    const fn new(name: &'static str, unit: Unit, span_ms: u64, buckets: u64) -> Self {
        assert!(buckets > 0 && span_ms.is_multiple_of(buckets), "the buckets must divide the span");
        Self { name, unit, span_ms, width_ms: span_ms / buckets }
    }

    /// Maximum time that usage counts, in milliseconds.
    pub(crate) fn kept_ms(&self) -> u64 {
        self.span_ms + 2 * self.width_ms
    }

    fn bucket(&self, at_ms: u64) -> u64 {
        at_ms / self.width_ms
    }

    /// The oldest bucket that still counts.
    fn oldest(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.span_ms) / self.width_ms
    }

    /// When a bucket has left the window, in milliseconds since 1970. It counts in full until its last instant has left.
    pub(crate) fn expires_at_ms(&self, bucket: u64) -> u64 {
        (bucket + 1) * self.width_ms + self.span_ms
    }
}

/// Returns a hash of a set of windows. Meters that were counted with other windows are rebuilt. Uses FNV-1a
/// (<https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>), because the hash must be the same in every release.
pub(crate) fn shape(windows: &[Window]) -> String {
    let mut hash = 0x811c_9dc5_u32;
    let mut update =
        |bytes: &[u8]| bytes.iter().for_each(|byte| hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    for window in windows {
        update(window.name.as_bytes());
        update(&[0, u8::from(window.unit == Unit::Calls)]);
        update(&window.span_ms.to_le_bytes());
        update(&window.width_ms.to_le_bytes());
    }
    format!("{hash:08x}")
}

/// Usage by bucket, with its running sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ring {
    buckets: BTreeMap<u64, u64>,
    sum: u64,
}

impl Ring {
    /// Returns the usage within the window.
    pub fn used(&self, window: &Window, now_ms: u64) -> u64 {
        let expired: u64 = self.buckets.range(..window.oldest(now_ms)).map(|(_, n)| n).sum();
        self.sum - expired
    }

    /// Adds `n` at an instant. Ignores instants that have left the window.
    pub fn add(&mut self, window: &Window, now_ms: u64, at_ms: u64, n: u64) {
        self.remove_expired(window, now_ms);
        let bucket = window.bucket(at_ms);
        if n > 0 && bucket >= window.oldest(now_ms) {
            *self.buckets.entry(bucket).or_default() += n;
            self.sum += n;
        }
    }

    /// Subtracts one call from the bucket of an instant, if it is still in the window.
    pub fn subtract_call(&mut self, window: &Window, now_ms: u64, at_ms: u64) {
        self.remove_expired(window, now_ms);
        let bucket = window.bucket(at_ms);
        if let Some(n) = self.buckets.get_mut(&bucket) {
            *n -= 1;
            self.sum -= 1;
            if *n == 0 {
                self.buckets.remove(&bucket);
            }
        }
    }

    fn remove_expired(&mut self, window: &Window, now_ms: u64) {
        let oldest = window.oldest(now_ms);
        while let Some(entry) = self.buckets.first_entry().filter(|entry| *entry.key() < oldest) {
            self.sum -= entry.remove();
        }
    }

    /// Returns in how many milliseconds the first and the last of the usage will have left the window; `None` when nothing is used.
    pub fn expiry_range_ms(&self, window: &Window, now_ms: u64) -> (Option<u64>, Option<u64>) {
        let mut live = self.buckets.range(window.oldest(now_ms)..);
        let first = live.next();
        let last = live.next_back().or(first);
        let ms = |(bucket, _): (&u64, &u64)| window.expires_at_ms(*bucket) - now_ms;
        (first.map(ms), last.map(ms))
    }

    /// Returns in how many milliseconds at least `excess` will have left the window; `None` if the whole usage is less than that.
    pub fn ms_until_freed(&self, window: &Window, now_ms: u64, excess: u64) -> Option<u64> {
        let mut left = excess;
        if left == 0 {
            return Some(0);
        }
        for (bucket, n) in self.buckets.range(window.oldest(now_ms)..) {
            left = left.saturating_sub(*n);
            if left == 0 {
                return Some(window.expires_at_ms(*bucket) - now_ms);
            }
        }
        None
    }
}

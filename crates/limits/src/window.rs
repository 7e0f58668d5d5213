//! A sliding window as a ring of buckets. Pure: `now` is an argument.

use std::collections::BTreeMap;

/// What a window counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Calls: one each, when admitted.
    Calls,
    /// An amount of anything, such as tokens or money in whole units: reserved when admitted, counted when settled.
    Amount,
}

/// A limit's shape; the limit itself is an argument of each call, so that a new one counts at once and refills nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Names it to users and in the shape of what is kept.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// How far it looks back, in milliseconds.
    pub span_ms: u64,
    /// The length of a bucket, in milliseconds. What was used counts until its bucket's last instant has left the window,
    /// so that no trailing span is ever over its limit; a width of a fiftieth of the span wastes 2 % at most.
    pub width_ms: u64,
}

impl Window {
    /// A window over calls, of so many buckets.
    ///
    /// # Panics
    /// At compile time, where the buckets don't divide the span.
    #[must_use]
    pub const fn calls(name: &'static str, span_ms: u64, buckets: u64) -> Self {
        Self::new(name, Unit::Calls, span_ms, buckets)
    }

    /// A window over an amount, of so many buckets.
    ///
    /// # Panics
    /// At compile time, where the buckets don't divide the span.
    #[must_use]
    pub const fn amount(name: &'static str, span_ms: u64, buckets: u64) -> Self {
        Self::new(name, Unit::Amount, span_ms, buckets)
    }

    const fn new(name: &'static str, unit: Unit, span_ms: u64, buckets: u64) -> Self {
        assert!(buckets > 0 && span_ms.is_multiple_of(buckets), "buckets divide the span");
        Self { name, unit, span_ms, width_ms: span_ms / buckets }
    }

    /// How long a use counts at most.
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

    /// When a bucket has left: it counts in full until its last instant has.
    pub(crate) fn leaves(&self, bucket: u64) -> u64 {
        (bucket + 1) * self.width_ms + self.span_ms
    }
}

/// Names a set of windows: meters that were counted in another one are rebuilt. FNV-1a
/// (<https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>), since it must be the same in every release.
pub(crate) fn shape(windows: &[Window]) -> String {
    let mut hash = 0x811c_9dc5_u32;
    let mut eat =
        |bytes: &[u8]| bytes.iter().for_each(|byte| hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    for window in windows {
        eat(window.name.as_bytes());
        eat(&[0, u8::from(window.unit == Unit::Calls)]);
        eat(&window.span_ms.to_le_bytes());
        eat(&window.width_ms.to_le_bytes());
    }
    format!("{hash:08x}")
}

/// What was used, by bucket, with its running sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ring {
    buckets: BTreeMap<u64, u64>,
    sum: u64,
}

impl Ring {
    /// What is used now.
    pub fn used(&self, window: &Window, now_ms: u64) -> u64 {
        let gone: u64 = self.buckets.range(..window.oldest(now_ms)).map(|(_, n)| n).sum();
        self.sum - gone
    }

    /// Counts so much at an instant; what has left the window isn't counted.
    pub fn add(&mut self, window: &Window, now_ms: u64, at_ms: u64, n: u64) {
        self.drop_gone(window, now_ms);
        let bucket = window.bucket(at_ms);
        if n > 0 && bucket >= window.oldest(now_ms) {
            *self.buckets.entry(bucket).or_default() += n;
            self.sum += n;
        }
    }

    /// Takes one call back.
    pub fn take_back(&mut self, window: &Window, now_ms: u64, at_ms: u64) {
        self.drop_gone(window, now_ms);
        let bucket = window.bucket(at_ms);
        if let Some(n) = self.buckets.get_mut(&bucket) {
            *n -= 1;
            self.sum -= 1;
            if *n == 0 {
                self.buckets.remove(&bucket);
            }
        }
    }

    fn drop_gone(&mut self, window: &Window, now_ms: u64) {
        let oldest = window.oldest(now_ms);
        while let Some(entry) = self.buckets.first_entry().filter(|entry| *entry.key() < oldest) {
            self.sum -= entry.remove();
        }
    }

    /// When the first and the last of what is used have left, in milliseconds from now.
    pub fn frees(&self, window: &Window, now_ms: u64) -> (Option<u64>, Option<u64>) {
        let mut live = self.buckets.range(window.oldest(now_ms)..);
        let first = live.next();
        let last = live.next_back().or(first);
        let ms = |(bucket, _): (&u64, &u64)| window.leaves(*bucket) - now_ms;
        (first.map(ms), last.map(ms))
    }

    /// In how many milliseconds so much has left; none where all of it isn't enough.
    pub fn frees_in(&self, window: &Window, now_ms: u64, excess: u64) -> Option<u64> {
        let mut left = excess;
        if left == 0 {
            return Some(0);
        }
        for (bucket, n) in self.buckets.range(window.oldest(now_ms)..) {
            left = left.saturating_sub(*n);
            if left == 0 {
                return Some(window.leaves(*bucket) - now_ms);
            }
        }
        None
    }
}

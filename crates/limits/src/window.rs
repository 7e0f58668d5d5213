//! A sliding window as a ring of buckets. Pure: the current time is an argument.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;

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

    /// Creates a window over an amount with this number of buckets. Each window of a set counts an amount of its own ([`Amounts`]).
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

/// What one call uses or may use: one amount per window over an amount, in the windows' order. A `u64` is for one such window, an array
/// for as many as it has elements. Implement it for a struct to give amounts names:
///
/// ```
/// #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
/// struct Used {
///     tokens: u64,
///     images: u64,
/// }
///
/// impl limits::Amounts for Used {
///     const COUNT: usize = 2;
///     const ZERO: Self = Self { tokens: 0, images: 0 };
///
///     fn get(&self, index: usize) -> u64 {
///         [self.tokens, self.images][index]
///     }
///
///     fn from_fn(mut amount_at: impl FnMut(usize) -> u64) -> Self {
///         Self { tokens: amount_at(0), images: amount_at(1) }
///     }
/// }
/// ```
pub trait Amounts: Copy + Debug + PartialEq + Send + Sync + 'static {
    /// Number of amounts.
    const COUNT: usize;
    /// No amount in any window.
    const ZERO: Self;

    /// Returns the amount at an index below [`Self::COUNT`].
    fn get(&self, index: usize) -> u64;

    /// Creates amounts from a function that returns the amount at each index.
    fn from_fn(amount_at: impl FnMut(usize) -> u64) -> Self;
}

impl Amounts for u64 {
    const COUNT: usize = 1;
    const ZERO: Self = 0;

    fn get(&self, _: usize) -> u64 {
        *self
    }

    fn from_fn(mut amount_at: impl FnMut(usize) -> u64) -> Self {
        amount_at(0)
    }
}

impl<const N: usize> Amounts for [u64; N] {
    const COUNT: usize = N;
    const ZERO: Self = [0; N];

    fn get(&self, index: usize) -> u64 {
        self[index]
    }

    fn from_fn(amount_at: impl FnMut(usize) -> u64) -> Self {
        std::array::from_fn(amount_at)
    }
}

/// A set of windows that are reserved and settled together. `A` is the type of the amounts that a call carries: by default a `u64`, for at
/// most one window over an amount.
///
/// A window over another amount needs an array, and the compiler then requires both amounts of every demand, settlement and past call:
///
/// ```
/// use limits::{Window, Windows};
///
/// const DAY_MS: u64 = 86_400_000;
/// const USER: Windows<[u64; 2]> = Windows::new(&[
///     Window::calls("requests", 60_000, 60),
///     Window::amount("tokens", DAY_MS, 48),
///     Window::amount("images", DAY_MS, 48),
/// ]);
/// # let _ = USER;
/// ```
///
/// ```compile_fail
/// use limits::{Window, Windows};
///
/// const DAY_MS: u64 = 86_400_000;
/// const USER: Windows = Windows::new(&[
///     Window::amount("tokens", DAY_MS, 48),
///     Window::amount("images", DAY_MS, 48),
/// ]);
/// # let _ = USER;
/// ```
#[derive(Debug)]
pub struct Windows<A: Amounts = u64> {
    windows: &'static [Window],
    amounts: PhantomData<fn() -> A>,
}

impl<A: Amounts> Clone for Windows<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Amounts> Copy for Windows<A> {}

impl<A: Amounts> Windows<A> {
    /// Creates a set of windows.
    ///
    /// # Panics
    /// Panics, in constants at compile time, if there are windows over amounts, but not as many as `A` has amounts.
    #[must_use]
    pub const fn new(windows: &'static [Window]) -> Self {
        let (mut amounts, mut index) = (0, 0);
        while index < windows.len() {
            if matches!(windows[index].unit, Unit::Amount) {
                amounts += 1;
            }
            index += 1;
        }
        assert!(amounts == 0 || amounts == A::COUNT, "each window over an amount needs one amount");
        Self { windows, amounts: PhantomData }
    }

    /// Returns the number of windows, which is also the number of limits that an [`Allowance`](crate::Allowance) needs.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a set without windows has no use")]
    pub const fn len(&self) -> usize {
        self.windows.len()
    }

    /// Returns the windows in their order.
    #[must_use]
    pub const fn as_slice(&self) -> &'static [Window] {
        self.windows
    }
}

/// Pairs each window with the index of its amount, or with `None` if it counts calls.
pub(crate) fn with_amount_indexes(windows: &[Window]) -> impl Iterator<Item = (&Window, Option<usize>)> {
    let mut next = 0;
    windows.iter().map(move |window| {
        let index = (window.unit == Unit::Amount).then_some(next);
        next += usize::from(index.is_some());
        (window, index)
    })
}

/// Version of the format of stored meters. Meters in another format are rebuilt.
const FORMAT: u8 = 2;

/// Returns a hash of a set of windows. Meters that were counted with other windows are rebuilt. Uses FNV-1a
/// (<https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>), because the hash must be the same in every release.
pub(crate) fn shape(windows: &[Window]) -> String {
    let mut hash = 0x811c_9dc5_u32;
    let mut update =
        |bytes: &[u8]| bytes.iter().for_each(|byte| hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    update(&[FORMAT]);
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

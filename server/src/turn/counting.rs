//! Limits the cost of counting tokens, which takes processor time before a turn is admitted: a budget of bytes per user, and a smaller one
//! for estimates, a few large prompts per user at once, and a bounded number of threads, so that no user slows down others (field notes 66,
//! 106).

use crate::failure::internal;
use crate::protection::slots::{UserSlot, UserSlots};
use crate::protection::wait_ms;
use domain::{Problem, UserId};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::Arc;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

/// Burst of a user's counting budget in KiB: four times the largest conversation.
const BURST_KIB: NonZeroU32 = NonZeroU32::new(16 * 1_024).expect("more than zero");
/// Refill of a user's counting budget in KiB per second.
const REFILL_KIB: NonZeroU32 = NonZeroU32::new(512).expect("more than zero");
/// Burst of a user's budget for the bodies of estimates in KiB, and its refill in KiB per second. Estimates are charged before their bodies
/// are read, in addition to what is then counted.
const ESTIMATE_BURST_KIB: NonZeroU32 = NonZeroU32::new(2 * 1_024).expect("more than zero");
const ESTIMATE_REFILL_KIB: NonZeroU32 = NonZeroU32::new(64).expect("more than zero");
/// Minimum charge of an estimate in KiB: even the smallest one takes queries.
const ESTIMATE_MIN_KIB: u32 = 4;
/// Maximum number of large bodies and prompts per user at once.
const LARGE_PER_USER: u64 = 4;
/// Maximum number of large bodies in memory over all users. Each takes up to 4 MiB, and more while it is parsed.
const LARGE_BODIES: usize = 16;
/// Retry delay for a user whose slots are all taken, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// Limits shared by all requests of this process.
pub(crate) struct Counting {
    budget: DefaultKeyedRateLimiter<UserId>,
    estimates: DefaultKeyedRateLimiter<UserId>,
    threads: Arc<Semaphore>,
    bodies: Semaphore,
    large: Arc<UserSlots>,
    /// Set once the tokenizer's vocabulary is loaded.
    vocabulary: OnceCell<()>,
}

impl Counting {
    /// Creates the limits. Counting uses at most half of the processors, so that it never starves streams.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            budget: RateLimiter::keyed(Quota::per_second(REFILL_KIB).allow_burst(BURST_KIB)),
            estimates: RateLimiter::keyed(Quota::per_second(ESTIMATE_REFILL_KIB).allow_burst(ESTIMATE_BURST_KIB)),
            threads: Arc::new(Semaphore::new((cores / 2).max(1))),
            bodies: Semaphore::new(LARGE_BODIES),
            large: Arc::default(),
            vocabulary: OnceCell::new(),
        }
    }

    /// Waits until the tokenizer's vocabulary is loaded, on a blocking thread, so that no async worker is blocked by it.
    pub(crate) async fn load_vocabulary(&self) {
        let load = || async {
            // A panic was logged by its hook. Counting would panic as well.
            let _ = tokio::task::spawn_blocking(providers::estimate::load_vocabulary).await;
        };
        self.vocabulary.get_or_init(load).await;
    }

    /// Begins to load the vocabulary in the background, for the message that the user of a page is likely to send.
    pub(crate) fn preload_vocabulary(self: &Arc<Self>) {
        if !self.vocabulary.initialized() {
            let counting = Arc::clone(self);
            tokio::spawn(async move { counting.load_vocabulary().await });
        }
    }

    /// Charges bytes to a user's counting budget.
    ///
    /// # Errors
    /// Returns a 429 problem with the time at which this many bytes fit again.
    pub(crate) fn charge(&self, user: UserId, bytes: usize) -> Result<(), Problem> {
        charge(&self.budget, user, bytes, 1, BURST_KIB)
    }

    /// Charges the body of an estimate, which isn't read yet, to a user's budget for estimates.
    ///
    /// # Errors
    /// Returns a 429 problem with the time at which this many bytes fit again.
    pub(crate) fn charge_estimate(&self, user: UserId, bytes: usize) -> Result<(), Problem> {
        charge(&self.estimates, user, bytes, ESTIMATE_MIN_KIB, ESTIMATE_BURST_KIB)
    }

    /// Takes one of a user's slots for large work.
    ///
    /// # Errors
    /// Returns a 429 problem if all of them are taken.
    pub(crate) fn acquire_slot(&self, user: UserId) -> Result<UserSlot, Problem> {
        self.large.take(user, LARGE_PER_USER).ok_or_else(|| too_many(RETRY_MS))
    }

    /// Waits until a large body may be read into memory.
    pub(crate) async fn body(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.bodies.acquire().await.ok()
    }

    /// Runs work on a blocking thread once one of the counting threads is free.
    ///
    /// # Errors
    /// Returns an error if the work panics.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let thread: Option<OwnedSemaphorePermit> = Arc::clone(&self.threads).acquire_owned().await.ok();
        let working = tokio::task::spawn_blocking(move || {
            let _thread = thread;
            work()
        });
        working.await.map_err(|error| internal(&error))
    }

    /// Removes users whose budget is full again.
    pub(crate) fn sweep(&self) {
        self.budget.retain_recent();
        self.estimates.retain_recent();
    }
}

/// Charges bytes to a user's budget, at least `min_kib`. What exceeds the whole burst is charged as the burst.
fn charge(
    budget: &DefaultKeyedRateLimiter<UserId>,
    user: UserId,
    bytes: usize,
    min_kib: u32,
    burst_kib: NonZeroU32,
) -> Result<(), Problem> {
    let kib = u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX).max(min_kib);
    let kib = NonZeroU32::new(kib).map_or(burst_kib, |kib| kib.min(burst_kib));
    match budget.check_key_n(&user, kib) {
        Ok(Ok(())) | Err(_) => Ok(()),
        Ok(Err(until)) => Err(too_many(wait_ms(&until))),
    }
}

fn too_many(retry_after_ms: u64) -> Problem {
    Problem::attempts_limit(
        "You sent a lot of text in a short time. Your draft is kept; wait a moment.",
        retry_after_ms,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[tokio::test]
    async fn budget_and_slots_are_limited_per_user() {
        let (counting, ann, bob) =
            (Counting::new(), UserId::from(Uuid::from_u128(1)), UserId::from(Uuid::from_u128(2)));
        let sent = (0..100).take_while(|_| counting.charge(ann, 1 << 20).is_ok()).count();
        assert!((16..=100).contains(&sent), "{sent} MiB charged before the first refusal");
        let refused = (0..10_000).find_map(|_| counting.charge(ann, 4 << 20).err()).expect("the budget is used up");
        assert!(refused.status() == 429 && refused.retry_after_ms.is_some_and(|ms| ms > 0), "{refused:?}");
        assert!(counting.charge(bob, 4 << 20).is_ok());
        let slots: Vec<_> = (0..LARGE_PER_USER).map(|_| counting.acquire_slot(ann).expect("a free slot")).collect();
        assert!(counting.acquire_slot(ann).is_err() && counting.acquire_slot(bob).is_ok());
        drop(slots);
        assert!(counting.acquire_slot(ann).is_ok());
        assert_eq!(counting.run(|| 6 * 7).await.expect("the work doesn't panic"), 42);
    }

    /// Field note 66: of twelve estimates of a megabyte, two fit into the budget.
    #[test]
    fn estimates_have_a_smaller_budget_of_their_own() {
        let (counting, ann) = (Counting::new(), UserId::from(Uuid::from_u128(1)));
        let counted = (0..12).take_while(|_| counting.charge_estimate(ann, 1 << 20).is_ok()).count();
        assert_eq!(counted, 2);
        let refused = counting.charge_estimate(ann, 1 << 20).expect_err("the budget is used up");
        assert!(refused.status() == 429 && refused.retry_after_ms.is_some_and(|ms| ms <= 16_000), "{refused:?}");
        assert!(counting.charge(ann, 1 << 20).is_ok(), "messages are charged to another budget");
        let bob = UserId::from(Uuid::from_u128(2));
        let small = (0..2_000).take_while(|_| counting.charge_estimate(bob, 0).is_ok()).count();
        assert!((512..1_500).contains(&small), "{small}");
    }
}

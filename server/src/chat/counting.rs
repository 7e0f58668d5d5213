//! Counting tokens costs processor time before anything is admitted, so it has limits of its own: a budget of bytes per user, a few
//! large prompts per user at once, and a bounded number of threads, so that no user slows the others down (field notes 66, 106).

use crate::error::internal;
use domain::{Problem, UserId};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Kibibytes that a user may have counted at once: the largest conversation, four times.
const BURST_KIB: NonZeroU32 = NonZeroU32::new(16 * 1_024).expect("more than zero");
/// Kibibytes per second that come back.
const REFILL_KIB: NonZeroU32 = NonZeroU32::new(512).expect("more than zero");
/// Large bodies and prompts of one user at once.
const LARGE_PER_USER: u32 = 4;
/// Large bodies in memory at once, of all users: each takes up to 4 MiB, and some more while it is parsed.
const LARGE_BODIES: usize = 16;
/// When a refused user may try again.
const RETRY_MS: u64 = 1_000;

/// What all requests of this process share.
pub(crate) struct Counting {
    budget: DefaultKeyedRateLimiter<UserId>,
    threads: Arc<Semaphore>,
    bodies: Semaphore,
    large: Mutex<HashMap<UserId, u32>>,
}

/// A user's place for one large body or prompt.
pub(crate) struct Place<'a> {
    counting: &'a Counting,
    user: UserId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut large = self.counting.large.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = large.get_mut(&self.user) {
            *n -= 1;
            if *n == 0 {
                large.remove(&self.user);
            }
        }
    }
}

impl Counting {
    /// Counts on half of the processors at most, so that streams are never starved by it.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            budget: RateLimiter::keyed(Quota::per_second(REFILL_KIB).allow_burst(BURST_KIB)),
            threads: Arc::new(Semaphore::new((cores / 2).max(1))),
            bodies: Semaphore::new(LARGE_BODIES),
            large: Mutex::default(),
        }
    }

    /// Takes bytes from a user's budget.
    ///
    /// # Errors
    /// Returns a 429 with the time at which as many bytes fit again.
    pub(crate) fn charge(&self, user: UserId, bytes: usize) -> Result<(), Problem> {
        let kib = u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX).clamp(1, BURST_KIB.get());
        let Some(kib) = NonZeroU32::new(kib) else { return Ok(()) };
        match self.budget.check_key_n(&user, kib) {
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(until)) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                Err(too_many(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)))
            }
        }
    }

    /// Takes one of a user's places for large work.
    ///
    /// # Errors
    /// Returns a 429 where all of them are taken.
    pub(crate) fn place(&self, user: UserId) -> Result<Place<'_>, Problem> {
        let mut large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        let n = large.entry(user).or_default();
        if *n >= LARGE_PER_USER {
            return Err(too_many(RETRY_MS));
        }
        *n += 1;
        Ok(Place { counting: self, user })
    }

    /// Waits until a large body may be read into memory.
    pub(crate) async fn body(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.bodies.acquire().await.ok()
    }

    /// Runs work on a thread of its own, once one of a few is free.
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

    /// Forgets users whose budget is full again.
    pub(crate) fn sweep(&self) {
        self.budget.retain_recent();
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
    async fn a_user_has_a_budget_and_a_few_places_and_leaves_others_theirs() {
        let (counting, ann, bob) =
            (Counting::new(), UserId::from(Uuid::from_u128(1)), UserId::from(Uuid::from_u128(2)));
        let sent = (0..100).take_while(|_| counting.charge(ann, 1 << 20).is_ok()).count();
        assert!((16..=100).contains(&sent), "{sent} MiB");
        let refused = (0..10_000).find_map(|_| counting.charge(ann, 4 << 20).err()).expect("a refusal");
        assert!(refused.status() == 429 && refused.retry_after_ms.is_some_and(|ms| ms > 0), "{refused:?}");
        assert!(counting.charge(bob, 4 << 20).is_ok());
        let places: Vec<_> = (0..LARGE_PER_USER).map(|_| counting.place(ann).expect("a place")).collect();
        assert!(counting.place(ann).is_err() && counting.place(bob).is_ok());
        drop(places);
        assert!(counting.place(ann).is_ok());
        assert_eq!(counting.run(|| 6 * 7).await.expect("counted"), 42);
    }
}

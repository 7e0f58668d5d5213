//! Threads for password hashing, apart from those of the async runtime and with a lower priority: a core that chat needs isn't used for a
//! password. Their number and their queue are bounded.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Number of passwords that may wait. At some 40 ms each, later ones would wait for seconds, and are refused.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// The threads and their queue. The threads end once this is dropped.
pub(super) struct HashingThreads {
    /// Bounded by the slots.
    jobs: UnboundedSender<Job>,
    /// Permits for the jobs that run or wait.
    slots: Arc<Semaphore>,
}

/// A slot for a job that runs or waits. Free again once its work is done, or when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it releases the slot"]
pub(crate) struct QueueSlot {
    _permit: OwnedSemaphorePermit,
}

impl HashingThreads {
    /// Starts the threads, one for every two cores: hashes of 19 MiB compete with chat for the memory's bandwidth and for cores that are
    /// halves of one, which no priority prevents.
    ///
    /// # Errors
    /// Returns an error if a thread can't be started.
    pub(super) fn start() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = (cores / 2).max(1);
        let (jobs, queue) = unbounded_channel();
        let queue = Arc::new(Mutex::new(queue));
        for n in 1..=threads {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name(format!("password-{n}")).spawn(move || run_jobs(&queue))?;
        }
        Ok(Self { jobs, slots: Arc::new(Semaphore::new(threads + QUEUE)) })
    }

    /// Returns whether a slot is free.
    pub(super) fn has_room(&self) -> bool {
        self.slots.available_permits() > 0
    }

    /// Takes a slot. Returns `None` if none is free.
    pub(super) fn reserve(&self) -> Option<QueueSlot> {
        Arc::clone(&self.slots).try_acquire_owned().ok().map(|permit| QueueSlot { _permit: permit })
    }

    /// Runs work on one of the threads once it is free. Returns `None` if the work panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        slot: QueueSlot,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (result, done) = oneshot::channel();
        let job = move || {
            let _slot = slot;
            // The client of the request has disconnected, so its work is skipped.
            if !result.is_closed() {
                let _ = result.send(work());
            }
        };
        self.jobs.send(Box::new(job)).ok()?;
        done.await.ok()
    }
}

/// Runs jobs until the sender is dropped.
fn run_jobs(queue: &Mutex<UnboundedReceiver<Job>>) {
    lower_priority();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(job) = next else { return };
        // A panic was logged by its hook, and its request fails because the job's sender is dropped. The thread continues.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// Lowers the priority of this thread on Linux. Elsewhere `nice` would change that of the whole process.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        /// Steps of `nice` below the other threads. Beside one of them, a thread gets about a thirtieth of a core, so that sign-ins still
        /// proceed while all cores are busy.
        const STEPS: i32 = 15;
        if let Err(error) = rustix::process::nice(STEPS) {
            tracing::warn!(%error, "passwords are hashed with the priority of other threads");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn as_many_jobs_as_there_are_slots_are_accepted() {
        let threads = HashingThreads::start().unwrap();
        let slots: Vec<QueueSlot> = std::iter::from_fn(|| threads.reserve()).collect();
        assert!(slots.len() > QUEUE && !threads.has_room(), "{}", slots.len());
        let results = slots.into_iter().zip(1..).map(|(slot, n)| threads.run(slot, move || 2 * n));
        let results: Vec<Option<usize>> = futures::future::join_all(results).await;
        assert!((1..).zip(&results).all(|(n, result)| *result == Some(2 * n)), "{results:?}");
        // A slot is free a moment after its result is sent.
        while threads.slots.available_permits() < results.len() {
            tokio::task::yield_now().await;
        }
        drop(threads.reserve().expect("a free slot"));
        assert!(threads.has_room());
    }

    #[tokio::test]
    async fn a_panic_ends_no_thread() {
        let threads = HashingThreads::start().unwrap();
        for _ in 0..8 {
            let slot = threads.reserve().expect("a free slot");
            assert_eq!(threads.run(slot, || -> u8 { panic!("on purpose") }).await, None);
        }
        let slot = threads.reserve().expect("a free slot");
        assert_eq!(threads.run(slot, || 42).await, Some(42));
    }

    #[tokio::test]
    async fn work_of_a_dropped_request_is_skipped() {
        let threads = HashingThreads::start().unwrap();
        let (entered, mut is_running) = unbounded_channel();
        let (release, released) = unbounded_channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let all = threads.slots.available_permits() - QUEUE;
        let mut held = Vec::new();
        for _ in 0..all {
            let (slot, entered, released) =
                (threads.reserve().expect("a free slot"), entered.clone(), Arc::clone(&released));
            let work = move || {
                entered.send(()).unwrap();
                let _ = released.lock().unwrap().blocking_recv();
            };
            let mut running = Box::pin(threads.run(slot, work));
            // The first poll sends the job.
            assert!(futures::poll!(&mut running).is_pending());
            held.push(running);
        }
        for _ in 0..all {
            is_running.recv().await.unwrap();
        }
        let (ran, mut has_run) = unbounded_channel();
        let work = move || ran.send(()).unwrap();
        let mut abandoned = Box::pin(threads.run(threads.reserve().expect("a free slot"), work));
        assert!(futures::poll!(&mut abandoned).is_pending());
        drop((abandoned, release));
        for running in held {
            assert_eq!(running.await, Some(()));
        }
        assert_eq!(has_run.recv().await, None, "the work was dropped");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_threads_have_a_lower_priority_than_others() {
        fn nice() -> i32 {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // The fields after the command's name, which may contain spaces: proc(5) counts the state as the 3rd and nice as the 19th.
            let (_, fields) = stat.rsplit_once(')').unwrap();
            fields.split_whitespace().nth(16).unwrap().parse().unwrap()
        }
        let threads = HashingThreads::start().unwrap();
        let slot = threads.reserve().expect("a free slot");
        let lowered = threads.run(slot, nice).await.expect("the work doesn't panic");
        assert_eq!(lowered, (nice() + 15).min(19));
    }
}

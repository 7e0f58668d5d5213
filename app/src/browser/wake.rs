//! Pauses that end early when the page may be able to reach the server again: it came back online, or the user came back to it.

use futures::future::{Either, select};
use gloo_timers::future::TimeoutFuture;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, Waker};

/// Why a pause ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Its time is over.
    Elapsed,
    /// The browser came back online, so earlier connections are broken.
    Online,
    /// The page became visible or focused, or was restored.
    Seen,
}

thread_local! {
    /// The pauses, by number.
    static WAITING: RefCell<Vec<(u64, Waker)>> = const { RefCell::new(Vec::new()) };
    /// How many pauses have begun.
    static BEGUN: Cell<u64> = const { Cell::new(0) };
    static LAST: Cell<(u64, Wake)> = const { Cell::new((0, Wake::Seen)) };
}

/// A pause. Its waker is removed when it is dropped: most pauses end because their time is over.
struct Waiting(u64);

impl Waiting {
    fn begin() -> Self {
        BEGUN.set(BEGUN.get() + 1);
        Self(BEGUN.get())
    }

    fn keep(&self, waker: &Waker) {
        WAITING.with_borrow_mut(|waiting| match waiting.iter_mut().find(|(number, _)| *number == self.0) {
            Some((_, kept)) => kept.clone_from(waker),
            None => waiting.push((self.0, waker.clone())),
        });
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.with_borrow_mut(|waiting| waiting.retain(|(number, _)| *number != self.0));
    }
}

/// Ends all pauses.
pub fn wake(reason: Wake) {
    LAST.set((LAST.get().0 + 1, reason));
    for (_, waker) in WAITING.take() {
        waker.wake();
    }
}

async fn woken() -> Wake {
    let (before, waiting) = (LAST.get().0, Waiting::begin());
    poll_fn(|context| match LAST.get() {
        (count, reason) if count != before => Poll::Ready(reason),
        _ => {
            waiting.keep(context.waker());
            Poll::Pending
        }
    })
    .await
}

/// Waits for a number of milliseconds, or until [`wake`] is called.
pub async fn pause(ms: u32) -> Wake {
    match select(pin!(TimeoutFuture::new(ms)), pin!(woken())).await {
        Either::Left(_) => Wake::Elapsed,
        Either::Right((reason, _)) => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::{WAITING, Wake, wake, woken};
    use futures::FutureExt as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[test]
    fn a_pause_that_ends_by_itself_keeps_no_waker() {
        let kept = || WAITING.with_borrow(Vec::len);
        let mut context = Context::from_waker(Waker::noop());
        let mut first = Box::pin(woken());
        let mut second = pin!(woken());
        assert!(first.poll_unpin(&mut context).is_pending() && second.poll_unpin(&mut context).is_pending());
        assert!(first.poll_unpin(&mut context).is_pending());
        assert_eq!(kept(), 2);
        drop(first);
        assert_eq!(kept(), 1);
        wake(Wake::Online);
        assert_eq!(kept(), 0);
        assert!(second.poll_unpin(&mut context).is_ready());
    }
}

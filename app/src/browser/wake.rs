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
    static WAITING: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
    static LAST: Cell<(u64, Wake)> = const { Cell::new((0, Wake::Seen)) };
}

/// Ends all pauses.
pub fn wake(reason: Wake) {
    LAST.set((LAST.get().0 + 1, reason));
    for waker in WAITING.take() {
        waker.wake();
    }
}

async fn woken() -> Wake {
    let (before, _) = LAST.get();
    poll_fn(|context| match LAST.get() {
        (count, reason) if count != before => Poll::Ready(reason),
        _ => {
            WAITING.with_borrow_mut(|waiting| {
                if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                    waiting.push(context.waker().clone());
                }
            });
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

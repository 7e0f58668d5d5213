//! A deadline that counts only the time in which this process was scheduled.

use std::time::Duration;
use tokio::pin;
use tokio::time::{Instant, timeout};

/// The slices that a deadline is counted in.
const SLICE: Duration = Duration::from_millis(25);

/// Waits for a future at most as long as is left, counted in slices of 25 ms, and takes what that used from `left`. Returns `None`
/// once nothing is left.
///
/// A slice counts as 25 ms even if it took longer, because then this process wasn't scheduled and the answer may lie unread in the
/// socket. So a busy machine doesn't turn an answer that arrived in time into a failure, while a server that doesn't answer is
/// given up after the deadline.
pub async fn within<T>(left: &mut Duration, future: impl Future<Output = T>) -> Option<T> {
    pin!(future);
    while !left.is_zero() {
        let (slice, began) = ((*left).min(SLICE), Instant::now());
        let output = timeout(slice, &mut future).await;
        *left -= if output.is_ok() { began.elapsed().min(slice) } else { slice };
        if let Ok(output) = output {
            return Some(output);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_future_is_given_up_after_the_deadline() {
        let began = Instant::now();
        assert_eq!(within(&mut Duration::from_millis(260), std::future::pending::<()>()).await, None);
        assert_eq!(began.elapsed().as_millis() / 10, 26);
    }

    /// The answer is there long before the deadline, the process is busy until long after it, and then the client library's tasks
    /// need some turns of the scheduler before the answer reaches the caller.
    #[tokio::test]
    async fn an_answer_that_arrived_in_time_is_read_however_late_we_are_scheduled() {
        let (sender, answer) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let began = std::time::Instant::now();
            while began.elapsed() < Duration::from_millis(400) {
                std::hint::spin_loop();
            }
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            let _ = sender.send(42);
        });
        assert_eq!(within(&mut Duration::from_millis(100), answer).await, Some(Ok(42)));
    }
}

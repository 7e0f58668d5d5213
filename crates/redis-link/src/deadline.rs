//! A deadline that counts only the time in which this process was scheduled.

use std::time::Duration;
use tokio::pin;
use tokio::time::{Instant, timeout};

/// Length of the slices that a deadline is counted in.
const SLICE: Duration = Duration::from_millis(25);

/// Waits for a future for at most the time in `left`, counted in slices of 25 ms, and subtracts the time used from `left`. Returns
/// `None` once no time is left.
///
/// A slice counts as 25 ms even if it took longer, because then this process wasn't scheduled and the reply may be unread in the
/// socket. So a reply that arrived in time doesn't fail on a busy machine, while a server that doesn't respond times out after the
/// deadline.
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
    async fn pending_future_times_out_after_the_deadline() {
        let began = Instant::now();
        assert_eq!(within(&mut Duration::from_millis(260), std::future::pending::<()>()).await, None);
        assert_eq!(began.elapsed().as_millis() / 10, 26);
    }

    /// Field note 106: the reply arrives long before the deadline, the process is busy until long after it, and then the client library's
    /// tasks need some turns of the scheduler before the reply reaches the caller.
    #[tokio::test]
    async fn reply_that_arrived_in_time_is_read_however_late_the_task_is_scheduled() {
        let (sender, answer) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let began = std::time::Instant::now();
            while began.elapsed() < Duration::from_millis(400) {
                std::hint::spin_loop();
            }
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let _ = sender.send(42);
        });
        // The busy time is longer, and takes one slice of twelve. The turns may be interrupted too.
        assert_eq!(within(&mut Duration::from_millis(300), answer).await, Some(Ok(42)));
    }
}

//! Bounds the memory of the images that turns send: those of one prompt may be 20 MB, and a provider may take long to accept them.

use domain::{Problem, ProblemKind};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The part of the memory that the images of a prompt take. It is free again when the last copy is dropped.
pub(super) type ImagePermit = Arc<OwnedSemaphorePermit>;

/// Returns a number of MiB in KiB, the unit of the semaphore.
pub(crate) fn kib(mib: u32) -> usize {
    usize::try_from(mib).unwrap_or(usize::MAX).saturating_mul(1024).min(Semaphore::MAX_PERMITS)
}

/// Takes the memory of images with this many bytes.
///
/// # Errors
/// Returns an `overloaded` problem if the images of other turns leave no room.
pub(super) fn take(memory: &Arc<Semaphore>, bytes: u64) -> Result<ImagePermit, Problem> {
    let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
    let permit = Arc::clone(memory).try_acquire_many_owned(kib);
    permit.map(Arc::new).map_err(|_| {
        metrics::counter!("quotient_image_memory_full_total").increment(1);
        let message = "Too many images are being sent right now. Try again in a few seconds.";
        Problem {
            retry_after_ms: Problem::overloaded().retry_after_ms,
            ..Problem::new(ProblemKind::Overloaded, message)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_beyond_the_memory_are_refused_until_others_are_dropped() {
        let memory = Arc::new(Semaphore::new(kib(20)));
        let first = take(&memory, 20_000_000).unwrap();
        let copy = Arc::clone(&first);
        drop(first);
        let refused = take(&memory, 1_000_000).unwrap_err();
        assert_eq!((refused.kind, refused.status()), (ProblemKind::Overloaded, 503));
        assert!(refused.retry_after_ms.is_some());
        assert!(take(&memory, 900_000).is_ok(), "what is left");
        drop(copy);
        assert!(take(&memory, 20_000_000).is_ok());
    }
}

//! Fault injection for tests, in development builds only: aborting at a named point, and a wrong clock.

/// Aborts the process here if this point is configured, like `kill -9` would.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) {
    if DIES_AT.get().is_some_and(|at| at == name) {
        // No unwinding, no destructors, no flushing.
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn point(_: &str) {}

/// Name of the point at which this process aborts.
#[cfg(debug_assertions)]
pub(crate) static DIES_AT: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Offset of this process's clock.
#[cfg(debug_assertions)]
pub(crate) static CLOCK_OFFSET: std::sync::OnceLock<time::Duration> = std::sync::OnceLock::new();

/// Returns the current time, including the configured offset.
#[cfg(debug_assertions)]
pub(crate) fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc() + CLOCK_OFFSET.get().copied().unwrap_or_default()
}

#[cfg(not(debug_assertions))]
pub(crate) fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}

//! Faults of a process that tests ask for, in development builds only: dying at a named point, and a wrong clock.

/// Dies here where the environment said so: at once, as `kill -9` would.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) {
    if DIES_AT.get().is_some_and(|at| at == name) {
        // No unwinding, no destructors, nothing flushed.
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn point(_: &str) {}

/// Where this process dies.
#[cfg(debug_assertions)]
pub(crate) static DIES_AT: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// By how much this process's clock is wrong.
#[cfg(debug_assertions)]
pub(crate) static CLOCK_OFFSET: std::sync::OnceLock<time::Duration> = std::sync::OnceLock::new();

/// The process's clock.
#[cfg(debug_assertions)]
pub(crate) fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc() + CLOCK_OFFSET.get().copied().unwrap_or_default()
}

#[cfg(not(debug_assertions))]
pub(crate) fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}

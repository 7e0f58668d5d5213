//! Named points at which a process can be told to die, in development builds only: what a crash leaves behind is tested by crashing.

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

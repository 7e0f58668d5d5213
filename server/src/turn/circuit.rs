//! A circuit breaker per provider. A provider that fails repeatedly, leaves several calls unanswered at once, or rejects our account gets
//! no calls for a while and is then probed with a single call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Consecutive failures that open the circuit.
const FAILURES: u32 = 5;
/// Number of concurrent silent calls that opens the circuit.
const SILENT: u32 = 3;
/// Time that the circuit stays open before a probe.
const OPEN: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Number of calls that are waiting too long for their response head.
    silent: u32,
    open_until: Option<Instant>,
    /// Whether a probe is in progress.
    is_probing: bool,
}

/// The circuit breaker of one provider, as observed by this server.
#[derive(Debug)]
pub(crate) struct Circuit {
    state: Mutex<State>,
    /// Notified when the circuit opens.
    opened: Arc<Notify>,
}

/// Permission to make one call. Dropping it without reporting a result, as a canceled call does, leaves the circuit unchanged.
#[derive(Debug)]
pub(crate) struct CallPermit<'a> {
    circuit: &'a Circuit,
    is_probe: bool,
}

impl Circuit {
    /// Creates a closed circuit that notifies `opened` when it opens.
    pub(crate) fn new(opened: Arc<Notify>) -> Self {
        Self { state: Mutex::default(), opened }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call through, or returns the time until the next attempt.
    pub(crate) fn try_acquire(&self, now: Instant) -> Result<CallPermit<'_>, Duration> {
        let mut state = self.state();
        match state.open_until {
            None => Ok(CallPermit { circuit: self, is_probe: false }),
            Some(until) if now < until => Err(until - now),
            Some(_) if state.is_probing => Err(Duration::from_secs(1)),
            Some(_) => {
                state.is_probing = true;
                Ok(CallPermit { circuit: self, is_probe: true })
            }
        }
    }

    /// Returns the time for which [`Self::try_acquire`] would refuse a call, without starting a probe.
    pub(crate) fn refuses(&self, now: Instant) -> Option<Duration> {
        let state = self.state();
        let until = state.open_until?;
        if now < until { Some(until - now) } else { state.is_probing.then_some(Duration::from_secs(1)) }
    }

    /// Returns the time until a probe is allowed; `None` if the circuit is closed.
    pub(crate) fn open_for(&self, now: Instant) -> Option<Duration> {
        self.state().open_until.map(|until| until.saturating_duration_since(now))
    }

    /// Records that an open stream broke off.
    pub(crate) fn broke(&self, now: Instant) {
        let mut state = self.state();
        state.failures += 1;
        if state.failures >= FAILURES {
            self.open(&mut state, now);
        }
    }

    /// Opens the circuit at once: every call fails until the owner acts.
    pub(crate) fn trip(&self, now: Instant) {
        let mut state = self.state();
        // Calls that were sent before don't close it; a probe that works does.
        state.failures = state.failures.max(FAILURES);
        self.open(&mut state, now);
    }

    fn open(&self, state: &mut State, now: Instant) {
        if state.open_until.replace(now + OPEN).is_none() {
            self.opened.notify_one();
        }
    }
}

/// A call that is waiting silently. It is counted until this guard is dropped.
pub(crate) struct Silent<'a>(&'a Circuit);

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        self.0.state().silent -= 1;
    }
}

impl CallPermit<'_> {
    /// Records that the provider responded, even if it refused this call.
    pub(crate) fn worked(self) {
        let mut state = self.circuit.state();
        // Circuits opened by silent calls close again when one of them is answered.
        if state.open_until.is_none() || self.is_probe || state.failures < FAILURES {
            *state = State { silent: state.silent, ..State::default() };
        }
    }

    /// Records that the call has waited too long. `SILENT` such calls at once, or a silent probe, open the circuit.
    pub(crate) fn silent(&self, now: Instant) -> Silent<'_> {
        let mut state = self.circuit.state();
        state.silent += 1;
        if state.silent >= SILENT || self.is_probe {
            self.circuit.open(&mut state, now);
        }
        Silent(self.circuit)
    }

    /// Records that the provider failed.
    pub(crate) fn failed(self, now: Instant) {
        self.circuit.broke(now);
    }

    /// Records that the provider rejects all calls until the owner acts.
    pub(crate) fn rejected(self, now: Instant) {
        self.circuit.trip(now);
    }
}

impl Drop for CallPermit<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.circuit.state().is_probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn opens_after_consecutive_failures_and_closes_after_a_success() {
        let (circuit, now) = (Circuit::new(Arc::default()), Instant::now());
        for _ in 0..FAILURES - 1 {
            circuit.try_acquire(now).unwrap().failed(now);
        }
        circuit.try_acquire(now).unwrap().worked();
        for _ in 0..FAILURES {
            circuit.try_acquire(now).unwrap().failed(now);
        }
        assert_eq!(circuit.try_acquire(now).unwrap_err(), OPEN);
        let notified = || circuit.opened.notified().now_or_never().is_some();
        assert_eq!([notified(), notified()], [true, false], "notified once, even without a waiter");
        let later = now + OPEN;
        let probe = circuit.try_acquire(later).unwrap();
        assert!(circuit.try_acquire(later).is_err(), "one probe at a time");
        probe.failed(later);
        assert!(circuit.try_acquire(later).is_err() && !notified(), "it was already open");
        // A canceled probe allows the next one.
        drop(circuit.try_acquire(later + OPEN).unwrap());
        circuit.try_acquire(later + OPEN).unwrap().worked();
        assert!(circuit.try_acquire(later + OPEN).is_ok() && circuit.open_for(later + OPEN).is_none());
    }

    /// Field note 58: an account that is out of credit is called once, and later only by probes.
    #[test]
    fn a_rejected_account_opens_the_circuit_at_once() {
        let (circuit, now) = (Circuit::new(Arc::default()), Instant::now());
        let earlier = circuit.try_acquire(now).unwrap();
        circuit.try_acquire(now).unwrap().rejected(now);
        assert_eq!(circuit.refuses(now), Some(OPEN));
        earlier.worked();
        assert!(circuit.try_acquire(now).is_err(), "an earlier call doesn't close it");
        circuit.try_acquire(now + OPEN).unwrap().rejected(now + OPEN);
        assert!(circuit.try_acquire(now + OPEN).is_err());
        circuit.try_acquire(now + OPEN * 2).unwrap().worked();
        assert_eq!(circuit.refuses(now + OPEN * 2), None);
    }
}

//! A circuit breaker per provider: one that fails again and again, or lets several calls wait in silence, isn't asked for a
//! while, and is then probed with one call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Failures in a row that open a circuit.
const FAILURES: u32 = 5;
/// Calls that wait in silence at the same time and open a circuit.
const SILENT: u32 = 3;
/// How long an open one stays so.
const OPEN: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Calls that have waited for too long for the head of their answer.
    silent: u32,
    open_until: Option<Instant>,
    /// One call finds out whether it works again.
    is_probing: bool,
}

/// One provider's circuit, as this server knows it.
#[derive(Debug)]
pub(crate) struct Circuit {
    state: Mutex<State>,
    /// Told when it opens.
    opened: Arc<Notify>,
}

/// Leave to make one call; whoever says nothing about how it went, a call that was cancelled, changes nothing.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    circuit: &'a Circuit,
    is_probe: bool,
}

impl Circuit {
    /// One that is closed, and tells when it opens.
    pub(crate) fn new(opened: Arc<Notify>) -> Self {
        Self { state: Mutex::default(), opened }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call through, or says how long nobody is let through.
    pub(crate) fn enter(&self, now: Instant) -> Result<Pass<'_>, Duration> {
        let mut state = self.state();
        match state.open_until {
            None => Ok(Pass { circuit: self, is_probe: false }),
            Some(until) if now < until => Err(until - now),
            Some(_) if state.is_probing => Err(Duration::from_secs(1)),
            Some(_) => {
                state.is_probing = true;
                Ok(Pass { circuit: self, is_probe: true })
            }
        }
    }

    /// How long [`Self::enter`] would refuse for, without taking the probe's place.
    pub(crate) fn refuses(&self, now: Instant) -> Option<Duration> {
        let state = self.state();
        let until = state.open_until?;
        if now < until { Some(until - now) } else { state.is_probing.then_some(Duration::from_secs(1)) }
    }

    /// Whether the circuit is open, and until when a probe is let through.
    pub(crate) fn open_for(&self, now: Instant) -> Option<Duration> {
        self.state().open_until.map(|until| until.saturating_duration_since(now))
    }

    /// A call that had begun broke off.
    pub(crate) fn broke(&self, now: Instant) {
        let mut state = self.state();
        state.failures += 1;
        if state.failures >= FAILURES {
            self.open(&mut state, now);
        }
    }

    fn open(&self, state: &mut State, now: Instant) {
        if state.open_until.replace(now + OPEN).is_none() {
            self.opened.notify_one();
        }
    }
}

/// A call that waits in silence; it stops counting when this is dropped.
pub(crate) struct Silent<'a>(&'a Circuit);

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        self.0.state().silent -= 1;
    }
}

impl Pass<'_> {
    /// The provider answered, be it with a refusal of this one call.
    pub(crate) fn worked(self) {
        let mut state = self.circuit.state();
        // Several calls were silent and one of them was answered after all.
        if state.open_until.is_none() || self.is_probe || state.failures < FAILURES {
            *state = State { silent: state.silent, ..State::default() };
        }
    }

    /// The call has waited for too long. Several of those at once, or a probe, open the circuit.
    pub(crate) fn silent(&self, now: Instant) -> Silent<'_> {
        let mut state = self.circuit.state();
        state.silent += 1;
        if state.silent >= SILENT || self.is_probe {
            self.circuit.open(&mut state, now);
        }
        Silent(self.circuit)
    }

    /// The provider is out of order.
    pub(crate) fn failed(self, now: Instant) {
        self.circuit.broke(now);
    }
}

impl Drop for Pass<'_> {
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
    fn it_opens_after_failures_in_a_row_and_closes_with_one_that_works() {
        let (circuit, now) = (Circuit::new(Arc::default()), Instant::now());
        for _ in 0..FAILURES - 1 {
            circuit.enter(now).unwrap().failed(now);
        }
        circuit.enter(now).unwrap().worked();
        for _ in 0..FAILURES {
            circuit.enter(now).unwrap().failed(now);
        }
        assert_eq!(circuit.enter(now).unwrap_err(), OPEN);
        let told = || circuit.opened.notified().now_or_never().is_some();
        assert_eq!([told(), told()], [true, false], "told once, also if nobody waited");
        let later = now + OPEN;
        let probe = circuit.enter(later).unwrap();
        assert!(circuit.enter(later).is_err(), "one at a time");
        probe.failed(later);
        assert!(circuit.enter(later).is_err() && !told(), "it was open");
        // a probe that was cancelled lets the next one through
        drop(circuit.enter(later + OPEN).unwrap());
        circuit.enter(later + OPEN).unwrap().worked();
        assert!(circuit.enter(later + OPEN).is_ok() && circuit.open_for(later + OPEN).is_none());
    }
}

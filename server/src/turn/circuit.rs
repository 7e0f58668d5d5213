//! A circuit breaker per provider. A provider that fails repeatedly, leaves several calls unanswered at once, or rejects our account gets
//! no calls for a while and is then probed with a single call.
//!
//! A user's API clients choose what is sent, which may make a provider fail or wait. Their failures in a row, and their silent calls at once,
//! therefore count as one, so that a single user can't close a provider for everyone.

use domain::UserId;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Consecutive failures that open the circuit.
const FAILURES: u32 = 5;
/// Number of concurrent silent calls that opens the circuit.
const SILENT: usize = 3;
/// Time that the circuit stays open before a probe.
const OPEN: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// The user whose API client made the last call that failed; `None` for the chat.
    last_api_user: Option<UserId>,
    /// The calls that are waiting too long for their response head, by the user whose API client made them.
    silent: Vec<Option<UserId>>,
    open_until: Option<Instant>,
    /// Whether a probe is in progress.
    is_probing: bool,
}

impl State {
    /// Counts a failure, unless the last one was of an API client of the same user.
    fn count_failure(&mut self, api_user: Option<UserId>) {
        if api_user.is_none() || self.last_api_user != api_user {
            self.failures += 1;
        }
        self.last_api_user = api_user;
    }

    /// Returns the number of silent calls. Those of one user's API clients are one.
    fn silent_calls(&self) -> usize {
        let calls = self.silent.iter().enumerate();
        calls.filter(|(at, api_user)| api_user.is_none() || !self.silent[..*at].contains(api_user)).count()
    }
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
    /// The user whose API client makes the call; `None` for the chat.
    api_user: Option<UserId>,
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
            None => Ok(CallPermit { circuit: self, is_probe: false, api_user: None }),
            Some(until) if now < until => Err(until - now),
            Some(_) if state.is_probing => Err(Duration::from_secs(1)),
            Some(_) => {
                state.is_probing = true;
                Ok(CallPermit { circuit: self, is_probe: true, api_user: None })
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

    /// Records that a call failed or its stream broke off. `api_user` is the user whose API client made the call.
    pub(crate) fn record_failure(&self, api_user: Option<UserId>, now: Instant) {
        let mut state = self.state();
        state.count_failure(api_user);
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
pub(crate) struct Silent<'a>(&'a Circuit, Option<UserId>);

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let Some(at) = state.silent.iter().position(|api_user| *api_user == self.1) {
            state.silent.swap_remove(at);
        }
    }
}

impl CallPermit<'_> {
    /// Names the user whose API client makes the call.
    pub(crate) fn for_api_user(mut self, api_user: Option<UserId>) -> Self {
        self.api_user = api_user;
        self
    }

    /// Returns whether an API client makes the call.
    pub(crate) fn is_api_call(&self) -> bool {
        self.api_user.is_some()
    }

    /// Records that the provider responded, even if it refused this call.
    pub(crate) fn record_success(self) {
        let mut state = self.circuit.state();
        // Circuits opened by silent calls close again when one of them is answered.
        if state.open_until.is_none() || self.is_probe || state.failures < FAILURES {
            *state = State { silent: std::mem::take(&mut state.silent), ..State::default() };
        }
    }

    /// Records that the call has waited too long. `SILENT` such calls at once, or a silent probe, open the circuit.
    pub(crate) fn silent(&self, now: Instant) -> Silent<'_> {
        let mut state = self.circuit.state();
        state.silent.push(self.api_user);
        if state.silent_calls() >= SILENT || self.is_probe {
            self.circuit.open(&mut state, now);
        }
        Silent(self.circuit, self.api_user)
    }

    /// Records that the provider failed.
    pub(crate) fn failed(self, now: Instant) {
        self.circuit.record_failure(self.api_user, now);
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
        circuit.try_acquire(now).unwrap().record_success();
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
        circuit.try_acquire(later + OPEN).unwrap().record_success();
        assert!(circuit.try_acquire(later + OPEN).is_ok() && circuit.open_for(later + OPEN).is_none());
    }

    /// One user's API clients can't open the circuit, whatever they send; those of several users can.
    #[test]
    fn failures_of_one_users_api_clients_count_once() {
        let (circuit, now) = (Circuit::new(Arc::default()), Instant::now());
        let [ann, bob] = [1, 2].map(|n| Some(UserId::from(uuid::Uuid::from_u128(n))));
        let call = |api_user| circuit.try_acquire(now).map(|permit| permit.for_api_user(api_user));
        for _ in 0..3 * FAILURES {
            call(ann).unwrap().failed(now);
            circuit.record_failure(ann, now);
        }
        let waiting: Vec<_> = (0..2 * SILENT).map(|_| call(ann).unwrap()).collect();
        let silent: Vec<_> = waiting.iter().map(|permit| permit.silent(now)).collect();
        assert!(circuit.open_for(now).is_none());
        drop(silent);
        assert_eq!(circuit.state().silent.len(), 0);
        for api_user in [bob, ann, bob, ann] {
            call(api_user).unwrap().failed(now);
        }
        assert!(circuit.open_for(now).is_some());
        let probe = circuit.try_acquire(now + OPEN).unwrap().for_api_user(bob);
        assert!(circuit.try_acquire(now + OPEN).is_err(), "still one probe at a time");
        probe.record_success();
        assert!(circuit.open_for(now + OPEN).is_none());
    }

    /// Field note 58: an account that is out of credit is called once, and later only by probes.
    #[test]
    fn a_rejected_account_opens_the_circuit_at_once() {
        let (circuit, now) = (Circuit::new(Arc::default()), Instant::now());
        let earlier = circuit.try_acquire(now).unwrap();
        circuit.try_acquire(now).unwrap().rejected(now);
        assert_eq!(circuit.refuses(now), Some(OPEN));
        earlier.record_success();
        assert!(circuit.try_acquire(now).is_err(), "an earlier call doesn't close it");
        circuit.try_acquire(now + OPEN).unwrap().rejected(now + OPEN);
        assert!(circuit.try_acquire(now + OPEN).is_err());
        circuit.try_acquire(now + OPEN * 2).unwrap().record_success();
        assert_eq!(circuit.refuses(now + OPEN * 2), None);
    }
}

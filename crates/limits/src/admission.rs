//! The limiter's operations: admit, confirm, settle, release and peek.

use crate::memory::Meter;
use crate::protocol::{Allowance, Demand, End, MAX_EXACT, PastCall, Snapshot, Step, StepOutcome, Unavailable};
use crate::store::{DECISION_DEADLINE, Store, clock};
use crate::window::{Amounts, Unit, Windows, with_amount_indexes};
use std::time::Duration;
use std::{future::Future, pin::Pin, sync::Arc};

/// How long an unconfirmed hold lasts. It covers requests that Redis granted but that timed out on our side.
const LAPSE_MS: u64 = 10_000;
/// `retry_after_ms` of a refusal where only the end of a running call can make room, because that time is unknown.
const UNKNOWN_WAIT_MS: u64 = 2_000;
/// Maximum number of times one step rebuilds meters that are lost repeatedly.
const MAX_REBUILDS: usize = 3;
/// Permission to make one call. Consumed by [`Limits::settle`] or [`Limits::release`]. The hold of a permit that is dropped
/// unconfirmed lapses after ten seconds.
#[must_use = "an admitted call must be settled or released"]
#[derive(Debug)]
pub struct Permit<A = u64> {
    subject: String,
    call: String,
    at_ms: u64,
    input: A,
    reserved: A,
    snapshot: Snapshot,
}

impl<A: Amounts> Permit<A> {
    /// The subject whose meters granted it.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The amount granted on top of the input: the call's `max_tokens`.
    #[must_use]
    pub fn output(&self) -> A {
        A::from_fn(|index| self.reserved.get(index).saturating_sub(self.input.get(index)))
    }

    /// The total amount reserved: input plus output.
    #[must_use]
    pub fn reserved(&self) -> A {
        self.reserved
    }

    /// When it was granted, by Redis' clock, in milliseconds since 1970. Its usage counts from this instant.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        self.at_ms
    }

    /// The meters, including this permit.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// The limit that refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The window at this index.
    Window(usize),
    /// The limit on concurrent calls.
    InFlight,
}

/// A refusal. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The limit that takes longest to make room.
    pub reason: Reason,
    /// Milliseconds until the same demand fits, if nothing else happens.
    pub retry_after_ms: u64,
    /// Milliseconds per window until that window alone would admit the demand: zero if it does now, `None` if only the end of a
    /// running call makes room.
    pub fits_ms: Vec<Option<u64>>,
    /// The meters at the time of the refusal.
    pub snapshot: Snapshot,
}

/// The result of [`Limits::admit`].
#[derive(Debug)]
pub enum Admission<A = u64> {
    /// The call may be made.
    Granted(Permit<A>),
    /// The call doesn't fit now.
    Denied(Denial),
    /// The call can never fit under this allowance, which admits at most `max` input.
    TooLarge {
        /// The largest input that could fit.
        max: A,
    },
    /// A call with this id was admitted before and has not ended.
    Running,
}

/// A difference between the meters and the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The actual meters.
    pub found: Snapshot,
    /// The meters as computed from the history.
    pub expected: Snapshot,
}

/// Loads a subject's calls within the longest window. Lost meters are rebuilt from them.
pub type History<A = u64> =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Result<Vec<PastCall<A>>, String>> + Send>> + Send + Sync>;

/// The meters of all subjects of one kind, such as users, addresses or the whole deployment. `A` is the type of the amounts that a call
/// carries, as of its [`Windows`].
#[derive(Clone)]
pub struct Limits<A: Amounts = u64> {
    store: Store,
    kind: &'static str,
    windows: Windows<A>,
    history: History<A>,
    has_history: bool,
    /// A fixed time in milliseconds since 1970 instead of Redis' clock; tests only.
    now_ms: Option<u64>,
}

impl<A: Amounts> Limits<A> {
    /// Creates the meters of one kind. Kinds with the same name share their meters, so a name must always have the same windows.
    #[must_use]
    pub fn new(store: &Store, kind: &'static str, windows: &Windows<A>, history: History<A>) -> Self {
        Self { store: store.clone(), kind, windows: *windows, history, has_history: true, now_ms: None }
    }

    /// Creates meters without a history: after a loss they start at zero.
    #[must_use]
    pub fn without_history(store: &Store, kind: &'static str, windows: &Windows<A>) -> Self {
        let none: History<A> = Arc::new(|_| Box::pin(async { Ok(Vec::new()) }));
        Self { has_history: false, ..Self::new(store, kind, windows, none) }
    }

    /// Returns the same meters at a fixed instant. Tests use it to move time.
    #[must_use]
    pub fn at(&self, now_ms: u64) -> Self {
        Self { now_ms: Some(now_ms), ..self.clone() }
    }

    /// Reserves what a call may use, in all windows or in none, or returns when it would fit.
    ///
    /// # Errors
    /// Returns [`Unavailable`] within 300 ms; the call must not be made.
    pub async fn admit(
        &self,
        subject: &str,
        call: &str,
        allowance: Allowance<'_>,
        demand: Demand<A>,
    ) -> Result<Admission<A>, Unavailable> {
        let limits = allowance.limits;
        let output_max = A::from_fn(|index| demand.output_max.get(index).max(demand.output_min.get(index)));
        let demand = Demand { output_max, ..demand };
        let amounts = (0..A::COUNT).flat_map(|index| [demand.input.get(index), demand.output_max.get(index)]);
        if limits.len() != self.windows.len() || limits.iter().copied().chain(amounts).any(|n| n >= MAX_EXACT) {
            return Err(Unavailable::Protocol);
        }
        if let Some(max) = self.max_input_if_exceeded(limits, demand) {
            return Ok(Admission::TooLarge { max });
        }
        let step = Step::Admit { call, demand, lapse_ms: LAPSE_MS, allowance };
        Ok(match self.run_step_rebuilding(subject, &step).await? {
            StepOutcome::Granted { reserved, at_ms, snapshot } => Admission::Granted(Permit {
                subject: subject.to_owned(),
                call: call.to_owned(),
                at_ms,
                input: demand.input,
                // Without a window over an amount, everything is granted.
                reserved: A::from_fn(|index| match reserved.get(index) {
                    Some(amount) => *amount,
                    None => demand.input.get(index) + demand.output_max.get(index),
                }),
                snapshot,
            }),
            StepOutcome::Denied { snapshot, waits } => Admission::Denied(denial(snapshot, &waits)),
            StepOutcome::Running => Admission::Running,
            _ => return Err(Unavailable::Protocol),
        })
    }

    /// Confirms that the call is recorded durably. Its hold then keeps its full reservation until it is settled. Idempotent, so a
    /// heartbeat may repeat it. Returns false if the hold has lapsed or doesn't exist.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if the meters can't be reached.
    pub async fn confirm(&self, permit: &Permit<A>) -> Result<bool, Unavailable> {
        match self
            .step(
                &permit.subject,
                &mut { DECISION_DEADLINE },
                &Step::Confirm { call: &permit.call, at_ms: permit.at_ms },
            )
            .await?
        {
            StepOutcome::Confirmed(is_confirmed) => Ok(is_confirmed),
            _ => Err(Unavailable::Protocol),
        }
    }

    /// Counts what the call used, even past the limit, and refunds the rest of the hold. If the hold is missing, the meters were lost and
    /// rebuilt without it; they are then rebuilt again from the history, which was written first.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if the meters can't be reached; the ledger, which was written first, corrects them later.
    pub async fn settle(&self, permit: Permit<A>, used: A) -> Result<Snapshot, Unavailable> {
        let used = A::from_fn(|index| used.get(index).min(MAX_EXACT - 1));
        let step = Step::End { call: &permit.call, at_ms: permit.at_ms, end: End::Settle(used) };
        match self.run_step_rebuilding(&permit.subject, &step).await? {
            StepOutcome::Done(_, false) if self.has_history => {
                self.discard(&permit.subject).await?;
                self.peek(&permit.subject).await
            }
            StepOutcome::Done(snapshot, _) => Ok(snapshot),
            _ => Err(Unavailable::Protocol),
        }
    }

    /// Refunds the whole reservation, including the call, because the call was not made.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if the meters can't be reached; an unconfirmed hold then lapses.
    pub async fn release(&self, permit: Permit<A>) -> Result<Snapshot, Unavailable> {
        self.end(&permit.subject, &permit.call, permit.at_ms, End::Release).await
    }

    /// Ends the hold of a process that has crashed or was stopped. Does nothing if there is no hold: it was settled, or the meters were
    /// rebuilt from the history. `at_ms` is when the call was admitted ([`Permit::at_ms`]), to within five seconds; the same id admitted
    /// at another time is a different call.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if the meters can't be reached.
    pub async fn end(&self, subject: &str, call: &str, at_ms: u64, end: End<A>) -> Result<Snapshot, Unavailable> {
        match self.run_step_rebuilding(subject, &Step::End { call, at_ms, end }).await? {
            StepOutcome::Done(snapshot, _) => Ok(snapshot),
            _ => Err(Unavailable::Protocol),
        }
    }

    /// Returns the meters without changing them.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if the meters can't be reached.
    pub async fn peek(&self, subject: &str) -> Result<Snapshot, Unavailable> {
        match self.run_step_rebuilding(subject, &Step::Peek).await? {
            StepOutcome::Done(snapshot, _) => Ok(snapshot),
            _ => Err(Unavailable::Protocol),
        }
    }

    /// Makes a subject's meters cold, so that the next access rebuilds them from the history. This corrects drift.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if the meters can't be reached.
    pub async fn discard(&self, subject: &str) -> Result<(), Unavailable> {
        self.store.discard(&self.key(subject)).await
    }

    /// Compares a subject's amounts and running calls with its history. Returns `None` if they agree. While calls start or end, the two
    /// may differ for a moment, so compare again before relying on the result.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if the meters can't be reached.
    pub async fn drift(&self, subject: &str) -> Result<Option<Drift>, Unavailable> {
        let found = self.peek(subject).await?;
        let past = (self.history)(subject.to_owned()).await.map_err(Unavailable::History)?;
        let expected = Meter::seeded(self.windows.as_slice(), &past, self.now_ms.unwrap_or_else(clock));
        let expected = expected.snapshot(self.windows.as_slice(), self.now_ms.unwrap_or_else(clock));
        let differs = self.windows.as_slice().iter().zip(found.windows.iter().zip(&expected.windows)).any(
            |(window, (found, expected))| {
                window.unit == Unit::Amount && (found.used, found.reserved) != (expected.used, expected.reserved)
            },
        );
        Ok((differs || found.in_flight != expected.in_flight).then_some(Drift { found, expected }))
    }

    /// Returns the largest input that could fit under these limits, if the demand is larger.
    fn max_input_if_exceeded(&self, limits: &[u64], demand: Demand<A>) -> Option<A> {
        let limit_of = |index| {
            let mut windows = with_amount_indexes(self.windows.as_slice()).zip(limits);
            windows.find(|((_, own), _)| *own == Some(index)).map_or(u64::MAX, |(_, limit)| *limit)
        };
        let max = A::from_fn(|index| limit_of(index).saturating_sub(demand.output_min.get(index)));
        let is_exceeded =
            |index| demand.input.get(index) > max.get(index) || limit_of(index) < demand.output_min.get(index);
        (0..A::COUNT).any(is_exceeded).then_some(max)
    }

    fn key(&self, subject: &str) -> String {
        format!("{}:{subject}", self.kind)
    }

    /// Runs a step. If the meters are cold, rebuilds them from the history and runs the step again, up to [`MAX_REBUILDS`] times if the
    /// meters are lost repeatedly. All Redis calls share the deadline of one decision; loading the history has its own.
    async fn run_step_rebuilding(&self, subject: &str, step: &Step<'_, A>) -> Result<StepOutcome, Unavailable> {
        let mut left = DECISION_DEADLINE;
        for _ in 0..MAX_REBUILDS {
            let rebuild_epoch = match self.step(subject, &mut left, step).await? {
                StepOutcome::Cold(rebuild_epoch) => rebuild_epoch,
                outcome => return Ok(outcome),
            };
            let past = (self.history)(subject.to_owned()).await.map_err(Unavailable::History)?;
            self.step(subject, &mut left, &Step::Seed { past: &past, rebuild_epoch: &rebuild_epoch }).await?;
        }
        self.step(subject, &mut left, step).await
    }

    async fn step(&self, subject: &str, left: &mut Duration, step: &Step<'_, A>) -> Result<StepOutcome, Unavailable> {
        self.store.step(&self.key(subject), self.windows.as_slice(), self.now_ms, left, step).await
    }
}

/// Builds a refusal from the wait per limit. The longest wait determines its reason and `retry_after_ms`.
fn denial(snapshot: Snapshot, waits: &[Option<u64>]) -> Denial {
    let ms = |wait: &Option<u64>| wait.unwrap_or(UNKNOWN_WAIT_MS);
    let (index, longest) = waits.iter().enumerate().max_by_key(|(_, wait)| ms(wait)).unwrap_or((0, &None));
    let reason = if index == 0 { Reason::InFlight } else { Reason::Window(index - 1) };
    Denial { reason, retry_after_ms: ms(longest), fits_ms: waits.iter().skip(1).copied().collect(), snapshot }
}

//! Admit, confirm, settle, release, peek.

use crate::memory::Meter;
use crate::store::{Answer, DECISION, Step, Store, clock};
use crate::window::{Unit, Window};
use std::time::Duration;
use std::{future::Future, pin::Pin, sync::Arc};

/// How long a hold stands that nobody has confirmed: Redis may have granted what timed out on our side.
const LAPSE_MS: u64 = 10_000;
/// How long after it lapsed a hold may still be settled.
pub(crate) const LATE_MS: u64 = 3_600_000;
/// Two admissions of one id are one call where no more lies between them.
pub(crate) const SAME_MS: u64 = 5_000;
/// What is said where only the end of a running call can make room, which nobody knows.
const UNKNOWN_MS: u64 = 2_000;
/// How often meters that are lost again and again are built for one step.
const TRIES: usize = 3;
/// Whole numbers up to here are exact in Lua.
pub(crate) const MOST: u64 = 1 << 53;

/// What is allowed now; an argument of each call, so that a new limit counts at once and never refills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance<'a> {
    /// A limit per window, in the windows' order.
    pub limits: &'a [u64],
    /// Calls at once; none is any number.
    pub in_flight: Option<u64>,
}

/// What a call may use at most. Unsigned, so that nobody can mint quota with a negative need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// What it uses in any case, estimated high.
    pub input: u64,
    /// What it must have on top to be worth making.
    pub output_min: u64,
    /// What it may have on top where there is room.
    pub output_max: u64,
}

impl Demand {
    /// So much, and neither more nor less.
    #[must_use]
    pub const fn exactly(amount: u64) -> Self {
        Self { input: amount, output_min: 0, output_max: 0 }
    }
}

/// What is used and held in one window; `*_ms` are durations from the answer, none where nothing is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Counted within the window.
    pub used: u64,
    /// Held for running calls.
    pub reserved: u64,
    /// Until nothing of what is used counts any more.
    pub reset_ms: Option<u64>,
    /// Until the oldest of what is used returns.
    pub next_free_ms: Option<u64>,
}

/// One subject's meters at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Calls running.
    pub in_flight: u64,
    /// One per window, in the windows' order.
    pub windows: Vec<Usage>,
}

impl Snapshot {
    /// A window by its place; an empty one where there is none.
    #[must_use]
    pub fn window(&self, place: usize) -> Usage {
        self.windows.get(place).copied().unwrap_or_default()
    }
}

/// Leave to make one call. Consumed by [`Limits::settle`] or [`Limits::release`]; one that is dropped unconfirmed
/// lapses after ten seconds.
#[must_use = "an admitted call is settled or released"]
#[derive(Debug)]
pub struct Permit {
    subject: String,
    call: String,
    at_ms: u64,
    input: u64,
    output: u64,
    snapshot: Snapshot,
}

impl Permit {
    /// Whose meters granted it.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What was granted on top of the input: the call's `max_tokens`.
    #[must_use]
    pub fn output(&self) -> u64 {
        self.output
    }

    /// All that is held.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.input + self.output
    }

    /// When it was granted, by Redis' clock, in milliseconds since 1970: the instant its usage counts at.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        self.at_ms
    }

    /// The meters with this permit in them.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// What refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The window at this place.
    Window(usize),
    /// Calls at once.
    InFlight,
}

/// A refusal; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What takes longest to make room.
    pub reason: Reason,
    /// When this very need would fit, if nothing else happens.
    pub retry_after_ms: u64,
    /// Per window, when it alone would let this need pass: zero where it does, none where only the end of a running call
    /// makes room.
    pub fits_ms: Vec<Option<u64>>,
    /// The meters as they are.
    pub snapshot: Snapshot,
}

/// The answer to [`Limits::admit`].
#[derive(Debug)]
pub enum Admission {
    /// Make the call.
    Granted(Permit),
    /// Not now.
    Denied(Denial),
    /// Never, under this allowance: more than `max` input can't fit a window.
    TooLarge {
        /// The largest input that could.
        max: u64,
    },
    /// This call was admitted before, and has not ended.
    Running,
}

/// Meters and history don't agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// What the meters say.
    pub found: Snapshot,
    /// What the history says.
    pub expected: Snapshot,
}

/// How a hold ends by id, for a process that has no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// So much was used.
    Settle(u64),
    /// Nothing was, and the call goes back.
    Release,
}

/// The meters can't be read or written. Paid calls must not be made then.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Redis refused, broke off or was too slow.
    #[error(transparent)]
    Redis(#[from] redis_link::LinkError),
    /// An answer that no script of ours gives, or a number that is too large for one.
    #[error("an unexpected answer")]
    Protocol,
    /// The history that would rebuild cold meters can't be had.
    #[error("history: {0}")]
    History(String),
}

/// One call of the longest window, as the owner of the truth knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCall {
    /// Its id.
    pub call: String,
    /// When it was admitted, in milliseconds since 1970.
    pub at_ms: u64,
    /// What it used, or holds while it runs.
    pub amount: u64,
    /// Whether it still runs.
    pub running: bool,
}

/// Answers what a subject did within the longest window: from where lost meters are rebuilt.
pub type History =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Result<Vec<PastCall>, String>> + Send>> + Send + Sync>;

/// The meters of all subjects of one kind: users, addresses, the whole deployment.
#[derive(Clone)]
pub struct Limits {
    store: Store,
    kind: &'static str,
    windows: &'static [Window],
    history: History,
    has_history: bool,
    /// Milliseconds since 1970 instead of Redis' clock; tests only.
    now_ms: Option<u64>,
}

impl Limits {
    /// Meters of a kind. Kinds with the same name share their meters, so each kind has its own windows.
    #[must_use]
    pub fn new(store: &Store, kind: &'static str, windows: &'static [Window], history: History) -> Self {
        Self { store: store.clone(), kind, windows, history, has_history: true, now_ms: None }
    }

    /// Meters whose loss only forgets: nothing is known of them elsewhere.
    #[must_use]
    pub fn without_history(store: &Store, kind: &'static str, windows: &'static [Window]) -> Self {
        let none: History = Arc::new(|_| Box::pin(async { Ok(Vec::new()) }));
        Self { has_history: false, ..Self::new(store, kind, windows, none) }
    }

    /// The same meters, read at a fixed instant: how tests move time.
    #[must_use]
    pub fn at(&self, now_ms: u64) -> Self {
        Self { now_ms: Some(now_ms), ..self.clone() }
    }

    /// Reserves what a call may use, in all windows or in none.
    ///
    /// # Errors
    /// Returns [`Unavailable`] within 300 ms; the call must not be made.
    pub async fn admit(
        &self,
        subject: &str,
        call: &str,
        allowance: Allowance<'_>,
        demand: Demand,
    ) -> Result<Admission, Unavailable> {
        let limits = allowance.limits;
        let demand = Demand { output_max: demand.output_max.max(demand.output_min), ..demand };
        let all = limits.iter().chain([&demand.input, &demand.output_max]);
        if limits.len() != self.windows.len() || all.into_iter().any(|n| *n >= MOST) {
            return Err(Unavailable::Protocol);
        }
        let amounts = self.windows.iter().zip(limits).filter(|(window, _)| window.unit == Unit::Amount);
        let max = amounts.map(|(_, limit)| limit.saturating_sub(demand.output_min)).min().unwrap_or(u64::MAX);
        if demand.input > max
            || limits.iter().zip(self.windows).any(|(n, w)| *n < demand.output_min && w.unit == Unit::Amount)
        {
            return Ok(Admission::TooLarge { max });
        }
        let step = Step::Admit { call, demand, lapse_ms: LAPSE_MS, allowance };
        Ok(match self.warm(subject, &step).await? {
            Answer::Granted { output, at_ms, snapshot } => Admission::Granted(Permit {
                subject: subject.to_owned(),
                call: call.to_owned(),
                at_ms,
                input: demand.input,
                output,
                snapshot,
            }),
            Answer::Denied { snapshot, waits } => Admission::Denied(denial(snapshot, &waits)),
            Answer::Running => Admission::Running,
            Answer::Cold(_) | Answer::Done(..) | Answer::Said(_) => return Err(Unavailable::Protocol),
        })
    }

    /// Says that the call is written down where it survives us: the hold then stays at its ceiling until it is settled.
    /// Again does nothing, so a heartbeat may say it. False where it had lapsed already.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if the meters can't be reached.
    pub async fn confirm(&self, permit: &Permit) -> Result<bool, Unavailable> {
        match self
            .step(&permit.subject, &mut { DECISION }, &Step::Confirm { call: &permit.call, at_ms: permit.at_ms })
            .await?
        {
            Answer::Said(stands) => Ok(stands),
            _ => Err(Unavailable::Protocol),
        }
    }

    /// Counts what the call used, also past the limit, and gives the rest of the hold back. Where the hold isn't there, the meters were
    /// lost and rebuilt without it: they are built once more from the history, which was written first.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if the meters can't be reached; the ledger, which was written first, corrects them later.
    pub async fn settle(&self, permit: Permit, used: u64) -> Result<Snapshot, Unavailable> {
        let step = Step::End { call: &permit.call, at_ms: permit.at_ms, end: End::Settle(used.min(MOST - 1)) };
        match self.warm(&permit.subject, &step).await? {
            Answer::Done(_, false) if self.has_history => {
                self.forget(&permit.subject).await?;
                self.peek(&permit.subject).await
            }
            Answer::Done(snapshot, _) => Ok(snapshot),
            _ => Err(Unavailable::Protocol),
        }
    }

    /// Gives everything back, the call too: it was not made.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if the meters can't be reached; an unconfirmed hold then lapses.
    pub async fn release(&self, permit: Permit) -> Result<Snapshot, Unavailable> {
        self.end(&permit.subject, &permit.call, permit.at_ms, End::Release).await
    }

    /// Ends the hold of a process that is gone, once: where none stands, it has been settled or the history has rebuilt the meters, and
    /// nothing happens. `at_ms` is when the call was admitted, [`Permit::at_ms`], give or take five seconds: the same id admitted anew is
    /// another call.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if the meters can't be reached.
    pub async fn end(&self, subject: &str, call: &str, at_ms: u64, end: End) -> Result<Snapshot, Unavailable> {
        match self.warm(subject, &Step::End { call, at_ms, end }).await? {
            Answer::Done(snapshot, _) => Ok(snapshot),
            _ => Err(Unavailable::Protocol),
        }
    }

    /// What is left, without touching it.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if the meters can't be reached.
    pub async fn peek(&self, subject: &str) -> Result<Snapshot, Unavailable> {
        match self.warm(subject, &Step::Peek).await? {
            Answer::Done(snapshot, _) => Ok(snapshot),
            _ => Err(Unavailable::Protocol),
        }
    }

    /// Makes a subject's meters cold, so that the next touch builds them from the history: how drift is healed.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if the meters can't be reached.
    pub async fn forget(&self, subject: &str) -> Result<(), Unavailable> {
        self.store.forget(&self.key(subject)).await
    }

    /// Compares a subject's meters with what its history says of the amounts; none where they agree. While calls of theirs run
    /// or end, the two may differ for a moment: ask again before believing it.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if the meters can't be reached.
    pub async fn drift(&self, subject: &str) -> Result<Option<Drift>, Unavailable> {
        let found = self.peek(subject).await?;
        let past = (self.history)(subject.to_owned()).await.map_err(Unavailable::History)?;
        let expected = Meter::seeded(self.windows, &past, self.now_ms.unwrap_or_else(clock));
        let expected = expected.snapshot(self.windows, self.now_ms.unwrap_or_else(clock));
        let differs =
            self.windows.iter().zip(found.windows.iter().zip(&expected.windows)).any(|(window, (found, expected))| {
                window.unit == Unit::Amount && (found.used, found.reserved) != (expected.used, expected.reserved)
            });
        Ok((differs || found.in_flight != expected.in_flight).then_some(Drift { found, expected }))
    }

    fn key(&self, subject: &str) -> String {
        format!("{}:{subject}", self.kind)
    }

    /// Does a step; where the meters are cold, builds them from the history and does it once more. Meters that are lost again meanwhile are
    /// built again, a few times. All that Redis is asked together stays within the bound of one decision; the history has its own.
    async fn warm(&self, subject: &str, step: &Step<'_>) -> Result<Answer, Unavailable> {
        let mut left = DECISION;
        for _ in 0..TRIES {
            let ticket = match self.step(subject, &mut left, step).await? {
                Answer::Cold(ticket) => ticket,
                answer => return Ok(answer),
            };
            let past = (self.history)(subject.to_owned()).await.map_err(Unavailable::History)?;
            self.step(subject, &mut left, &Step::Seed { past: &past, ticket: &ticket }).await?;
        }
        self.step(subject, &mut left, step).await
    }

    async fn step(&self, subject: &str, left: &mut Duration, step: &Step<'_>) -> Result<Answer, Unavailable> {
        self.store.step(&self.key(subject), self.windows, self.now_ms, left, step).await
    }
}

/// What takes longest, and how long.
fn denial(snapshot: Snapshot, waits: &[Option<u64>]) -> Denial {
    let ms = |wait: &Option<u64>| wait.unwrap_or(UNKNOWN_MS);
    let (place, longest) = waits.iter().enumerate().max_by_key(|(_, wait)| ms(wait)).unwrap_or((0, &None));
    let reason = if place == 0 { Reason::InFlight } else { Reason::Window(place - 1) };
    Denial { reason, retry_after_ms: ms(longest), fits_ms: waits.iter().skip(1).copied().collect(), snapshot }
}

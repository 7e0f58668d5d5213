//! The requests to the meters of one subject and their replies, shared by both stores and by the public operations.

use crate::window::Amounts;

/// How long a lapsed hold can still be settled.
pub(crate) const SETTLE_GRACE_MS: u64 = 3_600_000;
/// Maximum time between two admissions with the same id for them to count as one call.
pub(crate) const SAME_CALL_MS: u64 = 5_000;
/// Integers up to this value are exact in Lua.
pub(crate) const MAX_EXACT: u64 = 1 << 53;

/// The limits for one call. Passed with each call, so that a new limit applies at once and never refills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance<'a> {
    /// One limit per window, in the windows' order.
    pub limits: &'a [u64],
    /// Maximum number of concurrent calls; `None` is unlimited.
    pub in_flight: Option<u64>,
}

/// The maximum that a call may use. Unsigned, so that a negative demand can't create quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand<A = u64> {
    /// The amount that the call uses in any case, estimated high.
    pub input: A,
    /// The minimum amount on top of `input` for the call to be worth making.
    pub output_min: A,
    /// The maximum amount on top of `input`, granted as far as it fits.
    pub output_max: A,
}

impl<A: Amounts> Demand<A> {
    /// Creates a demand for exactly `amount`.
    #[must_use]
    pub const fn exactly(amount: A) -> Self {
        Self { input: amount, output_min: A::ZERO, output_max: A::ZERO }
    }

    /// Returns the demand in the window whose amount has this index. A window over calls has none: its demand is the call.
    pub(crate) fn in_window(&self, index: Option<usize>) -> Demand {
        index.map_or(Demand::exactly(1), |index| Demand {
            input: self.input.get(index),
            output_min: self.output_min.get(index),
            output_max: self.output_max.get(index),
        })
    }
}

/// How to end a hold by its call id, for a process that doesn't have the permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<A = u64> {
    /// Counts this amount as used.
    Settle(A),
    /// Counts nothing and refunds the call.
    Release,
}

/// One call within the longest window, as the source of truth recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCall<A = u64> {
    /// The call's id.
    pub call: String,
    /// When it was admitted, in milliseconds since 1970.
    pub at_ms: u64,
    /// The amount it used, or holds while it is running.
    pub amount: A,
    /// Whether it is still running.
    pub running: bool,
}

/// Usage of one window. `*_ms` are durations from the time of the reply, `None` when nothing is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Amount counted within the window.
    pub used: u64,
    /// Amount held for running calls.
    pub reserved: u64,
    /// Time until all current usage has left the window.
    pub reset_ms: Option<u64>,
    /// Time until the oldest usage leaves the window.
    pub next_free_ms: Option<u64>,
}

/// The meters of one subject at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Number of running calls.
    pub in_flight: u64,
    /// Usage per window, in the windows' order.
    pub windows: Vec<Usage>,
}

impl Snapshot {
    /// Returns the usage of the window at `index`, or an empty one if there is no such window.
    #[must_use]
    pub fn window(&self, index: usize) -> Usage {
        self.windows.get(index).copied().unwrap_or_default()
    }
}

/// The meters can't be read or written. Paid calls must not be made.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Redis refused the command, the connection broke, or the deadline passed.
    #[error(transparent)]
    Redis(#[from] redis_link::LinkError),
    /// An unexpected reply, a Redis older than version 7, a number of 2^53 or more, or a wrong number of limits.
    #[error("unexpected reply or argument")]
    Protocol,
    /// The history for rebuilding cold meters couldn't be loaded.
    #[error("history: {0}")]
    History(String),
}

/// An operation on the meters of one subject.
pub(crate) enum Step<'a, A> {
    Admit {
        call: &'a str,
        demand: Demand<A>,
        lapse_ms: u64,
        allowance: Allowance<'a>,
    },
    Confirm {
        call: &'a str,
        at_ms: u64,
    },
    End {
        call: &'a str,
        at_ms: u64,
        end: End<A>,
    },
    Peek,
    /// `rebuild_epoch` is from the [`StepOutcome::Cold`] that was returned before the history was read.
    Seed {
        past: &'a [PastCall<A>],
        rebuild_epoch: &'a str,
    },
}

/// The result of a [`Step`].
#[derive(Debug)]
pub(crate) enum StepOutcome {
    /// `reserved` has one amount per window over an amount.
    Granted {
        reserved: Vec<u64>,
        at_ms: u64,
        snapshot: Snapshot,
    },
    /// `waits` starts with the limit on concurrent calls, then one per window: zero if it fits, `None` if only the end of a running
    /// call makes room.
    Denied {
        snapshot: Snapshot,
        waits: Vec<Option<u64>>,
    },
    Running,
    /// The meters are cold. Seeding with this epoch does nothing if they were lost again since.
    Cold(String),
    /// The meters, and whether there was a hold to end.
    Done(Snapshot, bool),
    /// Whether the hold is confirmed now.
    Confirmed(bool),
    /// The meters are warm now, unless they were lost again since the history was read.
    Seeded,
}

//! A user's limits.

use domain::{Plan, PlanId, Problem, ProblemKind, Quota, quota};
use limits::{Reason, Snapshot, Window, Windows};

/// Declares the limits together with the list of all of them, so that none can be missing from it.
macro_rules! limit_enum {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// A limit of a plan.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Limit {
            $($(#[$doc])* $name,)*
        }

        impl Limit {
            /// All limits.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

limit_enum! {
    /// Requests in any 60 seconds.
    Requests
    /// Tokens in any 24 hours.
    Tokens
    /// Turns running at once.
    InFlight
}

/// Number of limits that are sliding windows; `WINDOWED` checks it. It is a literal, because the types of this crate depend on it: in an
/// optimized build, the compiler can't evaluate the crate's own functions before it has all of their types.
const WINDOW_COUNT: usize = 2;

/// The limits that are sliding windows, in the order in which they are stored: every one that has a window.
const WINDOWED: [Limit; WINDOW_COUNT] = {
    let mut windowed = [Limit::Requests; WINDOW_COUNT];
    let (mut count, mut index) = (0, 0);
    while index < Limit::ALL.len() {
        if Limit::ALL[index].window().is_some() {
            windowed[count] = Limit::ALL[index];
            count += 1;
        }
        index += 1;
    }
    assert!(count == WINDOW_COUNT, "WINDOW_COUNT must be the number of limits with a window");
    windowed
};

/// The windows of a user's meter.
pub const USER_WINDOWS: Windows = Windows::new(&WINDOWS);

const WINDOWS: [Window; WINDOW_COUNT] = {
    let mut windows = [Window::calls("requests", 60_000, 60); WINDOW_COUNT];
    let mut index = 0;
    while index < WINDOWED.len() {
        windows[index] = match WINDOWED[index].window() {
            Some(window) => window,
            None => panic!("not a sliding window"),
        };
        index += 1;
    }
    windows
};

impl Limit {
    /// The window that counts it; `None` for concurrent turns, which are not counted over time.
    const fn window(self) -> Option<Window> {
        match self {
            Self::Requests => Some(Window::calls("requests", 60_000, 60)),
            Self::Tokens => Some(Window::amount("tokens", 86_400_000, 48)),
            Self::InFlight => None,
        }
    }

    /// The limit that refused a call.
    #[must_use]
    pub fn of(reason: Reason) -> Self {
        match reason {
            Reason::Window(index) => WINDOWED[index.min(WINDOWED.len() - 1)],
            Reason::InFlight => Self::InFlight,
        }
    }

    /// The plan's value.
    #[must_use]
    pub fn of_plan(self, plan: &Plan) -> u64 {
        match self {
            Self::Requests => plan.requests_per_minute,
            Self::Tokens => plan.tokens_per_day.0,
            Self::InFlight => plan.in_flight,
        }
    }

    /// The kind of problem, metric label and refusal row that names it.
    #[must_use]
    pub fn kind(self) -> ProblemKind {
        match self {
            Self::Requests => ProblemKind::RequestsLimit,
            Self::Tokens => ProblemKind::TokensLimit,
            Self::InFlight => ProblemKind::InFlightLimit,
        }
    }

    /// The problem shown to a user who has reached it; `upgrade` is the smallest plan that would allow the request.
    #[must_use]
    pub fn problem(self, retry_after_ms: u64, upgrade: Option<PlanId>) -> Problem {
        let message = match self {
            Self::Requests => "You have reached your plan's limit of requests per minute. Your draft is kept.",
            Self::Tokens => "This message needs more tokens than you have left today. Your draft is kept.",
            Self::InFlight => {
                "You have reached your plan's limit of responses in progress. Wait for one to finish, or stop one."
            }
        };
        Problem { retry_after_ms: Some(retry_after_ms), upgrade, ..Problem::new(self.kind(), message) }
    }

    /// Its usage in a snapshot of a user's meter; `None` for concurrent turns.
    #[must_use]
    pub fn usage(self, snapshot: &Snapshot) -> Option<limits::Usage> {
        WINDOWED.iter().position(|limit| *limit == self).map(|index| snapshot.window(index))
    }
}

/// A plan's values of the sliding windows, in their order.
pub(crate) fn window_limits(plan: &Plan) -> [u64; WINDOW_COUNT] {
    WINDOWED.map(|limit| limit.of_plan(plan))
}

/// Combines a plan's limits with a snapshot of a user's meter into the remaining quota.
#[must_use]
pub fn quota_of(plan: &Plan, snapshot: &Snapshot) -> Quota {
    let usage = |limit: Limit| limit.usage(snapshot).unwrap_or_default();
    let (requests, tokens) = (usage(Limit::Requests), usage(Limit::Tokens));
    Quota {
        plan: plan.id.0.clone(),
        requests: quota::Requests {
            limit: plan.requests_per_minute,
            remaining: plan.requests_per_minute.saturating_sub(requests.used),
            reset_ms: requests.reset_ms,
        },
        tokens: quota::TokensLeft {
            limit: plan.tokens_per_day.0,
            used: tokens.used,
            reserved: tokens.reserved,
            remaining: plan.tokens_per_day.0.saturating_sub(tokens.used.saturating_add(tokens.reserved)),
            next_free_ms: tokens.next_free_ms,
        },
        in_flight: quota::InFlight { limit: plan.in_flight, now: snapshot.in_flight },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_window_is_its_limit() {
        for (index, limit) in WINDOWED.into_iter().enumerate() {
            assert_eq!(Limit::of(Reason::Window(index)), limit);
            assert_eq!(limit.window(), Some(WINDOWS[index]));
        }
        assert_eq!(Limit::of(Reason::InFlight), Limit::InFlight);
        assert_eq!(Limit::InFlight.window(), None);
    }

    #[test]
    fn every_limit_with_a_window_is_counted() {
        for limit in Limit::ALL {
            assert_eq!(WINDOWED.contains(limit), limit.window().is_some(), "{limit:?}");
        }
    }
}

//! The state of the service, for the status page.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The state of all parts of the service at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// The parts, our own first.
    pub services: Vec<Service>,
    /// When they were checked.
    pub checked_at: OffsetDateTime,
}

impl StatusView {
    /// Returns the state of the service as a whole: that of the part which works least.
    #[must_use]
    pub fn overall(&self) -> ServiceState {
        self.services.iter().map(|service| service.state).max().unwrap_or_default()
    }
}

/// A part of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub label: String,
    /// What it is for.
    pub about: String,
    /// Its state now.
    pub state: ServiceState,
    /// The last hours, the oldest first; empty for parts whose past isn't recorded.
    pub hours: Vec<Hour>,
}

/// The state of a part of the service, the better first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// It works.
    #[default]
    Available,
    /// Some requests fail.
    Degraded,
    /// No request works.
    Unavailable,
}

impl ServiceState {
    /// Returns the state as users read it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Degraded => "Some errors",
            Self::Unavailable => "Unavailable",
        }
    }
}

/// A model provider in one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hour {
    /// Its start.
    pub at: OffsetDateTime,
    /// How it went.
    pub outcome: HourOutcome,
}

/// How the calls of an hour went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HourOutcome {
    /// There were no calls.
    Quiet,
    /// Fewer than one in fifty calls failed.
    Good,
    /// More calls failed, but fewer than half of them.
    SomeErrors,
    /// Half of the calls or more failed.
    MostlyErrors,
}

impl HourOutcome {
    /// Returns the outcome of an hour with this number of calls, of which some failed.
    #[must_use]
    pub fn of(calls: u64, failed: u64) -> Self {
        match calls {
            0 => Self::Quiet,
            _ if failed.saturating_mul(2) >= calls => Self::MostlyErrors,
            _ if failed.saturating_mul(50) >= calls => Self::SomeErrors,
            _ => Self::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_judged_by_their_share_of_errors() {
        for (calls, failed, expected) in [
            (0, 0, HourOutcome::Quiet),
            (1, 0, HourOutcome::Good),
            (1, 1, HourOutcome::MostlyErrors),
            (51, 1, HourOutcome::Good),
            (50, 1, HourOutcome::SomeErrors),
            (3, 1, HourOutcome::SomeErrors),
            (4, 2, HourOutcome::MostlyErrors),
            (u64::MAX, u64::MAX, HourOutcome::MostlyErrors),
        ] {
            assert_eq!(HourOutcome::of(calls, failed), expected, "{failed} of {calls}");
        }
    }
}

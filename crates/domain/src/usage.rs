//! The usage and outcome of a call.

use crate::Picos;
use serde::{Deserialize, Serialize};
use std::{fmt, iter::Sum, ops::Add};

/// A number of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tokens(pub u64);

impl Tokens {
    /// Whether there are none.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// Converts to Postgres' `bigint`. Saturates, far above any real count.
    #[must_use]
    pub fn to_db(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// Converts from Postgres' `bigint`, which a check constraint keeps from being negative.
    #[must_use]
    pub fn from_db(count: i64) -> Self {
        Self(u64::try_from(count).unwrap_or(0))
    }
}

impl Add for Tokens {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Tokens {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self(0), Add::add)
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::money::grouped(&self.0.to_string()))
    }
}

/// Usage of one provider call. The first four kinds have separate prices; `reasoning` is a part of `output` and is only displayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Uncached input tokens.
    pub input: Tokens,
    /// Input tokens read from the provider's cache.
    pub cache_read: Tokens,
    /// Input tokens written to the provider's cache, all lifetimes.
    pub cache_write: Tokens,
    /// The part of `cache_write` with the longer lifetime, which has its own price.
    #[serde(default, skip_serializing_if = "Tokens::is_zero")]
    pub cache_write_long: Tokens,
    /// All output tokens, including reasoning.
    pub output: Tokens,
    /// The part of `output` that was reasoning.
    pub reasoning: Tokens,
}

impl Usage {
    /// Returns the usage that is assumed of a prompt which its provider may bill but hasn't counted. With marks, the provider may bill any of
    /// it as a write to its cache, so all of it is.
    #[must_use]
    pub fn of_uncounted_prompt(estimated: Tokens, marks: CacheMarks) -> Self {
        match marks {
            CacheMarks::None => Self { input: estimated, ..Self::default() },
            CacheMarks::Short => Self { cache_write: estimated, ..Self::default() },
            CacheMarks::Long => Self { cache_write: estimated, cache_write_long: estimated, ..Self::default() },
        }
    }

    /// Returns the tokens that count against a plan's daily limit.
    #[must_use]
    pub fn counted(&self) -> Tokens {
        self.prompt() + self.output
    }

    /// Returns all input tokens, which determine the price tier.
    #[must_use]
    pub fn prompt(&self) -> Tokens {
        self.input + self.cache_read + self.cache_write
    }
}

/// How a provider is to cache a prompt: the longest lifetime that is marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheMarks {
    /// It has no marks.
    #[default]
    None,
    /// Marks of the standard lifetime.
    Short,
    /// At least one mark of a longer lifetime, which has its own price.
    Long,
}

impl CacheMarks {
    /// Returns the name used in the ledger; `None` without marks.
    #[must_use]
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Short => Some("short"),
            Self::Long => Some("long"),
        }
    }

    /// Converts from the name used in the ledger, which a check constraint keeps to the known ones.
    #[must_use]
    pub fn from_db(name: Option<&str>) -> Self {
        match name {
            None => Self::None,
            Some("short") => Self::Short,
            Some(_) => Self::Long,
        }
    }
}

/// Usage summed over some turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageSum {
    /// Number of turns.
    pub requests: u64,
    /// Uncached input.
    pub input: Tokens,
    /// Input read from or written to prompt caches.
    pub cached: Tokens,
    /// Output, including reasoning.
    pub output: Tokens,
    /// Cost.
    pub cost: Picos,
}

impl UsageSum {
    /// Returns the total number of tokens, as counted toward plan limits.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        self.input + self.cached + self.output
    }

    /// Adds two sums, saturating at the maximum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            input: self.input + other.input,
            cached: self.cached + other.cached,
            output: self.output + other.output,
            cost: self.cost.plus(other.cost),
        }
    }
}

/// Whether the provider reported the usage or it was estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The provider's final report.
    Exact,
    /// Estimated from the prompt and the streamed text; never lower than what was streamed.
    Estimated,
}

impl UsageSource {
    /// Returns the name used in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Estimated => "estimated",
        }
    }
}

/// How a turn ended; the final statuses of a ledger row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The model completed its response.
    Finished,
    /// The user stopped the response.
    Stopped,
    /// The response reached its length limit.
    Truncated,
    /// The model declined to answer.
    Refused,
    /// The provider's content filter withheld the response, or the rest of it.
    Filtered,
    /// The provider or the connection to it failed.
    Failed,
    /// The process that ran it has crashed or was stopped.
    Lost,
}

impl Outcome {
    /// Returns the name used in the ledger and the message row.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Truncated => "truncated",
            Self::Refused => "refused",
            Self::Filtered => "filtered",
            Self::Failed => "failed",
            Self::Lost => "lost",
        }
    }
}

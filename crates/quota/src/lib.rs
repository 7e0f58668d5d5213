//! The limits of this product on top of the generic `limits` crate: a user's windows, the caps of API keys, the spend
//! budgets, and attempts.
//!
//! [`Quotas`] reserves a turn in the user's meter and in every budget with a cap, and settles or releases all of them together. [`Limit`] lists
//! a user's limits; every place that treats them differently matches on it, so that a new one doesn't compile until each place handles it.

mod attempts;
mod budget;
mod counters;
mod history;
mod key;
mod key_caps;
mod limit;
mod quotas;

pub use budget::{Budget, Caps, Spent};
pub use counters::AttemptCount;
pub use key::{KEY_WINDOWS, KeyLimit, KeyQuota, key_quota_of};
pub use key_caps::KeyCaps;
pub use limit::{Limit, USER_WINDOWS, quota_of};
pub use limits::{Demand, Unavailable};
pub use quotas::{Quotas, Refused, Reservation, Settings, Verdict};

//! The limits of this product on top of the generic `limits` crate: a user's windows, the spend budgets, and attempts.
//!
//! [`Quotas`] reserves a turn in the user's meter and in every budget with a cap, and settles or releases all of them together. [`Limit`] lists
//! a user's limits; every place that treats them differently matches on it, so that a new one doesn't compile until each place handles it.

mod budget;
mod history;
mod limit;
mod quotas;

pub use budget::{Budget, Caps, Spent};
pub use limit::{Limit, USER_WINDOWS, quota_of};
pub use limits::{Demand, Unavailable};
pub use quotas::{AttemptCount, Quotas, Refused, Reservation, Settings, Verdict};

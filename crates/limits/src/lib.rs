#![doc = include_str!("../README.md")]

mod admission;
mod memory;
mod protocol;
mod script;
mod store;
mod window;

pub use admission::{Admission, Denial, Drift, History, Limits, Permit, Reason};
pub use protocol::{Allowance, Demand, End, PastCall, Snapshot, Unavailable, Usage};
pub use store::Store;
pub use window::{Amounts, Unit, Window, Windows};

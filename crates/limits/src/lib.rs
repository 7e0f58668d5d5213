#![doc = include_str!("../README.md")]

mod admission;
mod memory;
mod script;
mod store;
mod window;

pub use admission::{Admission, Allowance, Demand, Denial, Drift, End, History, Limits};
pub use admission::{PastCall, Permit, Reason, Snapshot, Unavailable, Usage};
pub use store::Store;
pub use window::{Unit, Window};

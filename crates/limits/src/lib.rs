//! Meters for calls that cost money: requests per minute, tokens per day and turns in flight of one subject, all
//! sliding, reserved before the call and settled after it, in one Redis script per step.
//!
//! ```text
//! admit ──Granted(Permit)──▶ confirm ──▶ settle(actual)   or   release
//!       ──Denied──▶ says which window, and when this very need would fit; nothing was written
//! ```
//!
//! The crate depends on nothing of the product it stands in: subjects and turns are strings, limits are arguments of
//! each call, and the history from which lost meters are rebuilt is a closure.

mod admission;
mod scripts;

pub use admission::{Admission, History, PastTurn, Unavailable};
pub use admission::{Allowance, Denial, End, Limits, Need, Permit, Picture, Window};

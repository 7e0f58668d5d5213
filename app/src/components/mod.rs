//! Shared components. They take plain values and load no data.

pub mod chart;
pub mod duration;
pub mod field;
pub mod frame;
pub mod icon;
pub mod loaded;
pub mod markdown;
pub mod meter;
pub mod outcome;
pub mod refusal_card;
pub mod toast;

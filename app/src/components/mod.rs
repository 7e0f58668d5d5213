//! Shared pieces: plain values in, no data of their own.

pub mod chart;
pub mod duration;
pub mod field;
pub mod frame;
pub mod icon;
pub mod loaded;
pub mod markdown;
pub mod meter;
pub mod refusal_card;
pub mod toast;

//! Shared components. They take plain values and load no data.

pub mod auth_card;
pub mod browser_name;
pub mod captcha;
pub mod chart;
pub mod duration;
pub mod field;
pub mod footer;
pub mod frame;
pub mod icon;
pub mod loaded;
pub mod meter;
pub mod outcome;
pub mod passkey_button;
pub mod provider_button;
pub mod refusal_card;
pub mod theme;
pub mod time_zone;
pub mod toast;

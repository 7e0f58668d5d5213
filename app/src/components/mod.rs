//! Shared components. They take plain values and load no data.

pub mod auth_card;
pub mod browser_name;
pub mod captcha;
pub mod chart;
pub mod copy_button;
pub mod duration;
pub mod error_page;
pub mod field;
pub mod footer;
pub mod frame;
pub mod icon;
pub mod json_ld;
pub mod loaded;
pub mod meter;
pub mod outcome;
pub mod page_head;
pub mod passkey_button;
pub mod provider_button;
pub mod refusal_card;
pub mod settings_fields;
pub mod terms_notice;
pub mod theme;
pub mod time_zone;
pub mod toast;

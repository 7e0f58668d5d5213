//! The data that pages show, as server functions send it.

pub mod admin;
pub mod api_key;
pub mod billing;
pub mod captcha;
pub mod content;
pub mod conversation;
pub mod factors;
pub mod home;
pub mod identity;
pub mod plan;
pub mod provider;
pub mod security;
pub mod status;
pub mod storage;
pub mod theme;
pub mod usage;
pub mod usage_filter;

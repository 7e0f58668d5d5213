//! The data that pages show, as server functions send it.

pub mod admin;
pub mod api_key;
pub mod billing;
pub mod captcha;
pub mod chat_settings;
pub mod content;
pub mod conversation;
pub mod conversation_list;
pub mod factors;
pub mod home;
pub mod identity;
pub mod import;
pub mod plan;
pub mod provider;
pub mod search;
pub mod security;
pub mod share;
pub mod status;
pub mod storage;
pub mod theme;
pub mod usage;
pub mod usage_filter;

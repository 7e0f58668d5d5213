//! Pages, one file per URL.

pub mod admin;
pub mod chat;
pub mod home;
pub mod pricing;
pub mod settings;
pub mod sign_in;
pub mod sign_up;
pub mod usage;

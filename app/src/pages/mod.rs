//! Pages, one file per URL.

pub mod admin;
pub mod archived;
pub mod chat;
pub mod confirm;
pub mod content;
pub mod edit_conversation;
pub mod email_undo;
pub mod forgot;
pub mod gallery;
pub mod home;
pub mod pricing;
pub mod reset;
pub mod search;
pub mod second_factor;
pub mod settings;
pub mod share;
pub mod sign_in;
pub mod sign_up;
pub mod status;
pub mod usage;
pub mod verify;

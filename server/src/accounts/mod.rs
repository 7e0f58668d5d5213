//! Accounts: sign-up and deletion, passwords, sessions, emails and attempt limits.

pub(crate) mod attempts;
pub(crate) mod delete;
pub(crate) mod email;
pub(crate) mod password;
pub(crate) mod session;
pub(crate) mod sign_up;

//! Accounts: passwords, sessions, emails and attempt limits.

pub(crate) mod attempts;
pub(crate) mod email;
pub(crate) mod password;
pub(crate) mod session;

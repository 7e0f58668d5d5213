//! Accounts: sign-up and sign-in, identities at other services, second factors, verification of addresses, changes of what users sign in with,
//! sessions, and deletion.

pub(crate) mod activity;
pub(crate) mod api_keys;
pub(crate) mod attempts;
pub(crate) mod breached_passwords;
pub(crate) mod captcha;
pub(crate) mod change_email;
pub(crate) mod change_password;
mod cipher;
pub(crate) mod client;
pub(crate) mod confirm;
pub(crate) mod delete;
pub(crate) mod email;
pub(crate) mod export;
pub(crate) mod external;
mod first_proof;
mod hashing;
pub(crate) mod identities;
mod links;
pub(crate) mod passkeys;
pub(crate) mod password;
mod password_rules;
pub(crate) mod profile;
pub(crate) mod recovery;
pub(crate) mod rejection;
pub(crate) mod relying_party;
pub(crate) mod renewals;
pub(crate) mod second_factor;
pub(crate) mod session;
pub(crate) mod sessions;
pub(crate) mod sign_in;
pub(crate) mod sign_up;
mod time_zone;
pub(crate) mod tokens;
pub(crate) mod totp;
pub(crate) mod verify;

//! Sign-in with an account at another service: [OpenID Connect](https://openid.net/specs/openid-connect-core-1_0.html) issuers such as Google,
//! and GitHub, which supports OAuth only. `flow.rs` redirects a browser to a provider and verifies the callback; what then happens to accounts
//! is in `accounts/external.rs` and `accounts/identities.rs`.

mod error;
mod fetch;
pub(crate) mod flow;
mod github;
mod id_token;
mod metadata;
mod oauth;
pub(crate) mod providers;

pub(crate) use error::IdentityError;

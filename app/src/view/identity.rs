//! Services with which users sign in.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A service with which users can sign in, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityProvider {
    /// Names it in URLs.
    pub id: String,
    /// Its name on buttons.
    pub label: String,
    /// The URL under which its identities are stored.
    pub issuer: String,
    /// Whether it reports when a user has signed in to it.
    pub reports_sign_in_time: bool,
}

/// A service, as its button needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderButton {
    /// Names it in URLs.
    pub id: String,
    /// Its name.
    pub label: String,
}

/// A configured service, and the user's identity there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The service.
    pub provider: ProviderButton,
    /// When it was connected; `None` if it isn't.
    pub connected_at: Option<OffsetDateTime>,
    /// The address that the service last sent.
    pub email: Option<String>,
    /// Whether the service reports when a user has signed in to it.
    pub reports_sign_in_time: bool,
}

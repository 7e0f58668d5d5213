//! Services with which users sign in, and how a user does.

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
}

/// A service, as its button needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderButton {
    /// Names it in URLs.
    pub id: String,
    /// Its name.
    pub label: String,
}

/// How a user can sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaysIn {
    /// Whether the account has a password.
    pub has_password: bool,
    /// Whether the user has proved who they are within the last ten minutes.
    pub is_recent: bool,
    /// The configured services.
    pub connections: Vec<Connection>,
}

impl WaysIn {
    /// Returns the services that are connected.
    #[must_use]
    pub fn connected(&self) -> Vec<ProviderButton> {
        let connected = self.connections.iter().filter(|connection| connection.connected_at.is_some());
        connected.map(|connection| connection.provider.clone()).collect()
    }
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
}

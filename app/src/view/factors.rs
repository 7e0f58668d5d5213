//! What pages show about how users sign in, and about second factors.

use super::identity::{Connection, ProviderButton};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// What only the response to a form shows. It is on no other page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactorResult {
    /// What an authenticator app must be given.
    Totp(TotpSetup),
    /// New recovery codes.
    RecoveryCodes(Vec<String>),
    /// A new API key.
    ApiKey {
        /// Its name.
        name: String,
        /// Its secret, which can't be shown again.
        secret: String,
    },
}

/// What an authenticator app must be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotpSetup {
    /// The secret in base32, in groups of four characters.
    pub secret: String,
    /// The secret as a QR code.
    pub qr: QrCode,
}

/// A QR code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QrCode {
    /// Number of modules in each direction, without the margin.
    pub size: usize,
    /// SVG path of the dark modules, each one unit wide.
    pub path: String,
}

/// How a user can sign in and confirm who they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactorsView {
    /// Whether the account has a password.
    pub has_password: bool,
    /// Whether the user has proved who they are within the last ten minutes.
    pub is_recent: bool,
    /// The configured services.
    pub connections: Vec<Connection>,
    /// Whether an authenticator app is set up.
    pub has_totp: bool,
    /// Number of unused recovery codes.
    pub recovery_codes: i64,
    /// The passkeys, oldest first.
    pub passkeys: Vec<PasskeyView>,
}

impl FactorsView {
    /// Returns the connected services with which the user can confirm who they are: those that report when a user has signed in to them, or
    /// all if the user has no other proof of identity here.
    #[must_use]
    pub fn confirming(&self) -> Vec<ProviderButton> {
        let has_proof = self.has_password || self.has_totp || !self.passkeys.is_empty();
        let connected = self.connections.iter().filter(|connection| connection.connected_at.is_some());
        let confirming = connected.filter(|connection| connection.reports_sign_in_time || !has_proof);
        confirming.map(|connection| connection.provider.clone()).collect()
    }

    /// Returns whether the user can sign in without a password.
    #[must_use]
    pub fn needs_no_password(&self) -> bool {
        !self.passkeys.is_empty() || self.connections.iter().any(|connection| connection.connected_at.is_some())
    }
}

/// A passkey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasskeyView {
    /// Names it in forms.
    pub passkey_id: String,
    /// The name that the user gave it.
    pub name: String,
    /// When it was added.
    pub created_at: OffsetDateTime,
    /// When it was last used.
    pub last_used_at: Option<OffsetDateTime>,
}

//! Events of an account: sign-ins, failures, and changes of how its user signs in.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityEvent {
    /// The user signed in.
    SignIn,
    /// A wrong password was entered, or a passkey was refused.
    SignInFailed,
    /// A wrong code of the second factor was entered after the first factor was proved.
    CodeFailed,
    /// The user signed out.
    SignOut,
    /// The password was changed or reset.
    PasswordChanged,
    /// A link to reset the password was requested.
    ResetRequested,
    /// The email address was changed, or a change was undone.
    EmailChanged,
    /// An identity at another service was connected, with which the user can sign in from now on.
    IdentityConnected,
    /// An identity at another service was disconnected.
    IdentityRemoved,
    /// A session was ended from another one.
    SessionEnded,
    /// A passkey, an authenticator app or recovery codes were added.
    FactorAdded,
    /// A passkey, an authenticator app or the password was removed.
    FactorRemoved,
    /// An API key was created.
    ApiKeyCreated,
    /// An API key was revoked.
    ApiKeyRevoked,
    /// The account was deleted.
    AccountDeleted,
    /// A request was refused because the user may not make it.
    Forbidden,
}

impl SecurityEvent {
    /// All events.
    pub const ALL: [Self; 16] = [
        Self::SignIn,
        Self::SignInFailed,
        Self::CodeFailed,
        Self::SignOut,
        Self::PasswordChanged,
        Self::ResetRequested,
        Self::EmailChanged,
        Self::IdentityConnected,
        Self::IdentityRemoved,
        Self::SessionEnded,
        Self::FactorAdded,
        Self::FactorRemoved,
        Self::ApiKeyCreated,
        Self::ApiKeyRevoked,
        Self::AccountDeleted,
        Self::Forbidden,
    ];

    /// Returns the name used in the `security_event` table and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::SignInFailed => "sign_in_failed",
            Self::CodeFailed => "code_failed",
            Self::SignOut => "sign_out",
            Self::PasswordChanged => "password_changed",
            Self::ResetRequested => "reset_requested",
            Self::EmailChanged => "email_changed",
            Self::IdentityConnected => "identity_connected",
            Self::IdentityRemoved => "identity_removed",
            Self::SessionEnded => "session_ended",
            Self::FactorAdded => "factor_added",
            Self::FactorRemoved => "factor_removed",
            Self::ApiKeyCreated => "api_key_created",
            Self::ApiKeyRevoked => "api_key_revoked",
            Self::AccountDeleted => "account_deleted",
            Self::Forbidden => "forbidden",
        }
    }

    /// Parses a name that `as_str` returns. `None` for an event of a newer release.
    #[must_use]
    pub fn from_db(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == text)
    }
}

/// An entry of a user's recent activity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityEventRow {
    /// What happened.
    pub kind: SecurityEvent,
    /// Keyed hash of the client's address.
    pub origin: String,
    /// The browser, as it describes itself; may be empty.
    pub user_agent: String,
    /// When it happened.
    pub created_at: OffsetDateTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_read_back_by_its_name() {
        for event in SecurityEvent::ALL {
            assert_eq!(SecurityEvent::from_db(event.as_str()), Some(event));
            assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        }
        assert_eq!(SecurityEvent::from_db("event_of_a_newer_release"), None);
    }
}

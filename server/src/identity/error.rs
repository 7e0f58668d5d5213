//! Why a sign-in with another service fails.

use super::fetch::FetchError;

/// Why an identity couldn't be proved. The text is for the log: it contains neither secrets nor tokens.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// The provider can't be reached or doesn't work.
    #[error("{0}")]
    Unavailable(String),
    /// The provider refused, or what it sent can't be trusted.
    #[error("{0}")]
    Refused(String),
    /// A query failed.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl IdentityError {
    /// Creates the error of a response that can't be trusted.
    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }
}

impl From<FetchError> for IdentityError {
    fn from(error: FetchError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

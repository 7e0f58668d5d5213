//! Errors of providers: failure statuses, error objects within a success, and bodies that are no response.

mod body;
pub(crate) mod retry_after;
mod too_long;

pub(crate) use body::ErrorBody;

use crate::ProviderError;

/// A response with a failure status.
pub(crate) struct Failure {
    pub status: u16,
    /// The provider's retry delay, in milliseconds.
    pub retry_after_ms: Option<u64>,
    pub body: ErrorBody,
}

impl Failure {
    /// Whether the server rejected the request because of this field of it.
    pub fn rejects(&self, field: &str) -> bool {
        matches!(self.status, 400 | 422) && self.body.names_field(field) && !self.body.is_too_long()
    }

    /// Classifies the failure.
    pub fn into_error(self) -> ProviderError {
        self.body.classify(self.status, self.retry_after_ms)
    }
}

/// Why a response with a success status isn't read to its end.
pub(crate) enum Fault {
    /// The provider reported an error in the body.
    Reported(ErrorBody),
    /// The body, or a part of it, is in no known format.
    Foreign(String),
    /// The response ended without any output.
    Empty,
    /// The connection broke off, or went silent.
    Broken(String),
}

impl Fault {
    /// Converts to the error of a call of which nothing was read.
    pub fn before_output(self) -> ProviderError {
        match self {
            Self::Reported(body) => body.classify_in_success(),
            Self::Foreign(what) => ProviderError::NotAResponse(what),
            Self::Empty => ProviderError::NotAResponse("empty response".into()),
            Self::Broken(what) => ProviderError::StreamFailed(what),
        }
    }

    /// Converts to the error that ends a stream.
    pub fn within_output(self) -> ProviderError {
        ProviderError::StreamFailed(match self {
            Self::Reported(body) => body.kind(),
            Self::Foreign(what) | Self::Broken(what) => what,
            Self::Empty => "empty response".into(),
        })
    }
}

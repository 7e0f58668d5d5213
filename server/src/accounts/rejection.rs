//! Why a form of the account pages is rejected.

use super::password::HashError;
use crate::failure::Failure;
use domain::Problem;

/// Why a form is rejected. Its page is shown again with what was entered.
pub(crate) enum Rejection {
    /// Fields are invalid: their names, each with an error message. The empty name stands for the form as a whole.
    Invalid(Vec<(&'static str, String)>),
    /// It can't be processed: too many attempts, an overloaded server, or a failure.
    Refused(Failure),
}

impl Rejection {
    /// Creates a rejection because of one field.
    pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![(field, message.into())])
    }
}

/// Implements `From` for errors that become failures.
macro_rules! refused {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Rejection {
            fn from(error: $error) -> Self {
                Self::Refused(error.into())
            }
        }
    )*};
}

refused!(Problem, store::StoreError, anyhow::Error, HashError, tower_sessions::session::Error);

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// The rejection as a problem, for clients that show no page.
impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Refused(failure) => failure,
            Rejection::Invalid(errors) => {
                let (field, message) = errors.into_iter().next().unwrap_or_default();
                Self(Problem::invalid(field, message))
            }
        }
    }
}

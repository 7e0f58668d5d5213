//! Failures: each is logged once, with an incident id that is shown to the user.

use app::api::context::Failure as AnyFailure;
use domain::Problem;
use std::any::Any;
use uuid::Uuid;

/// Converts a failure to a problem: 503 with a retry time while Postgres can't be reached, otherwise 500 with the incident id of its log
/// line.
pub fn internal(error: &dyn AnyFailure) -> Problem {
    let any: &dyn Any = error;
    if any.downcast_ref::<store::StoreError>().is_some_and(store::StoreError::is_unavailable) {
        tracing::warn!("Postgres is unavailable: {error}");
        metrics::counter!("quotient_database_unavailable_total").increment(1);
        return Problem::overloaded();
    }
    let incident = Uuid::now_v7().simple().to_string();
    tracing::error!(incident, "{error}");
    metrics::counter!("quotient_failures_total").increment(1);
    Problem::internal(incident)
}

/// A problem as an error: `?` turns the errors of the other crates into one, logged. As a response it has the problem's status.
#[derive(Debug)]
pub struct Failure(pub Problem);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<store::StoreError> for Failure {
    fn from(error: store::StoreError) -> Self {
        Self(internal(&error))
    }
}

impl From<quota::Unavailable> for Failure {
    /// Paid calls fail closed: without meters no call is made (field note 9).
    fn from(error: quota::Unavailable) -> Self {
        let incident = internal(&error).incident;
        Self(Problem { incident, ..Problem::limits_unavailable() })
    }
}

impl From<relay::RelayError> for Failure {
    /// The turn runs on: its events can be read once Redis replies again.
    fn from(error: relay::RelayError) -> Self {
        tracing::warn!("a turn's event log is unavailable: {error}");
        Self(Problem::overloaded())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self(internal(&format!("{error:#}")))
    }
}

impl From<tower_sessions::session::Error> for Failure {
    fn from(error: tower_sessions::session::Error) -> Self {
        Self(internal(&error))
    }
}

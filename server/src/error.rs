//! The only place that logs failures: each once, with an incident id that is shown to the user.

use app::api::context::Failure;
use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::response::{IntoResponse, Response};
use domain::{Problem, problem::ProblemBody};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use std::any::Any;
use uuid::Uuid;

/// Converts a failure to a problem: 503 with a retry time while Postgres can't be reached, otherwise 500 with the incident id of its log
/// line.
pub fn internal(error: &dyn Failure) -> Problem {
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

/// A problem as an API response.
#[derive(Debug)]
pub struct Refused(pub Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<store::StoreError> for Refused {
    fn from(error: store::StoreError) -> Self {
        Self(internal(&error))
    }
}

impl From<limits::Unavailable> for Refused {
    /// Paid calls fail closed: without meters no call is made (field note 9).
    fn from(error: limits::Unavailable) -> Self {
        let incident = internal(&error).incident;
        Self(Problem { incident, ..Problem::limits_unavailable() })
    }
}

impl From<relay::RelayError> for Refused {
    fn from(error: relay::RelayError) -> Self {
        Self(internal(&error))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = problem.retry_after_seconds();
        let mut response = (status, Json(ProblemBody { problem })).into_response();
        if let Some(seconds) = retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// An id in the path. Rejects an invalid id with 404.
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned + Send> FromRequestParts<S> for Id<T> {
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        // No id contains a NUL, and Postgres rejects it.
        if parts.uri.path().contains("%00") {
            return Err(Refused(Problem::not_found("address")));
        }
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Refused(Problem::not_found("address")))
    }
}

/// Converts a panic to a response with an incident id, like any other failure.
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    Refused(internal(&format!("panic: {}", app::api::context::said(&*panic)))).into_response()
}

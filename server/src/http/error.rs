//! Problems and panics as responses.

use crate::failure::{Failure, internal};
use axum::Json;
use axum::response::{IntoResponse, Response};
use domain::problem::ProblemBody;
use http::{HeaderValue, StatusCode, header};
use std::any::Any;

impl IntoResponse for Failure {
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

/// Converts a panic to a response with an incident id, like any other failure.
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    Failure(internal(&format!("panic: {}", app::api::context::panic_message(&*panic)))).into_response()
}

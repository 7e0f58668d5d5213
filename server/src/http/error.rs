//! Problems and panics as responses.

use crate::failure::{Failure, internal};
use axum::Json;
use axum::response::{IntoResponse, Response};
use domain::ProblemKind;
use domain::problem::ProblemBody;
use http::{HeaderValue, StatusCode, header};
use std::any::Any;

/// The problem of a response, for middleware: an extension of every response to a problem.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseProblem {
    pub kind: ProblemKind,
    pub retry_after_ms: Option<u64>,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = problem.retry_after_seconds();
        let about = ResponseProblem { kind: problem.kind, retry_after_ms: problem.retry_after_ms };
        let mut response = (status, Json(ProblemBody { problem })).into_response();
        response.extensions_mut().insert(about);
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

//! Problems as responses in the format of the client.

use super::about::About;
use crate::turn::call_problem::{ApiError, is_retryable};
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use domain::Problem;
use http::{HeaderValue, StatusCode, header};

/// Responds with a problem. The official SDKs wait for the time in `retry-after-ms` or `retry-after`, and don't retry if `x-should-retry` is false.
pub(super) fn response(about: &About, problem: Problem) -> Response {
    let (seconds, ms, retryable) = (problem.retry_after_seconds(), problem.retry_after_ms, is_retryable(&problem));
    let error = ApiError::of(about.format, problem);
    let mut body = error.body(about.format);
    if let (Some(id), Some(field)) = (about.id_text(), body.get_mut("request_id")) {
        *field = id.into();
    }
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    if let Some(seconds) = seconds {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        headers.insert("retry-after-ms", HeaderValue::from(ms.unwrap_or(seconds * 1_000)));
    }
    if !retryable {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}

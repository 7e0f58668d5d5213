//! Reads the body of a call.

use crate::AppState;
use crate::http::extract;
use crate::turn::ChatRequest;
use crate::turn::call_request::CallRequest;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use domain::{Problem, Viewer};
use providers::api::{ApiFormat, ApiRequest, InvalidRequest};
use std::time::Duration;

/// Timeout for receiving a body.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the size of a body as announced, if it is. A body larger than the plan allows is refused before it is read.
pub(super) fn announced_size(viewer: &Viewer, request: &Request) -> Result<Option<usize>, Problem> {
    extract::announced_size(request, CallRequest::max_bytes(&viewer.plan), CallRequest::too_large)
}

/// Reads a body of bounded size, and parses it with `parse`.
pub(super) async fn read(
    app: &AppState,
    viewer: &Viewer,
    request: Request,
    parse: impl FnOnce(&[u8]) -> Result<ApiRequest, InvalidRequest> + Send + 'static,
) -> Result<(Bytes, ApiRequest), Problem> {
    let (announced, max) = (announced_size(viewer, &request)?, CallRequest::max_bytes(&viewer.plan));
    let is_large = ChatRequest::is_large(announced);
    let _slots = match is_large {
        true => Some((app.counting.acquire_slot(viewer.user_id)?, app.counting.body().await)),
        false => None,
    };
    let body = tokio::time::timeout(TIMEOUT, to_bytes(request.into_body(), max)).await;
    let bytes = body
        .map_err(|_| Problem::invalid("", "The request body didn't arrive in time."))?
        .map_err(|_| CallRequest::too_large(max))?;
    let parsed = match is_large {
        // Large bodies take milliseconds to parse.
        true => {
            let bytes = bytes.clone();
            app.counting.run(move || parse(&bytes)).await?
        }
        false => parse(&bytes),
    };
    Ok((bytes, parsed.map_err(crate::turn::call_request::problem_of)?))
}

/// Parses the request for a call in a format.
pub(super) fn parser(format: ApiFormat) -> impl FnOnce(&[u8]) -> Result<ApiRequest, InvalidRequest> + Send + 'static {
    move |bytes: &[u8]| ApiRequest::parse(format, bytes)
}

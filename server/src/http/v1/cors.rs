//! Calls from web pages: refused, unless the key lists the page's origin. <https://fetch.spec.whatwg.org/#http-cors-protocol>

use super::about::About;
use super::error;
use crate::AppState;
use crate::failure::Failure;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use domain::{ApiKey, Problem, ProblemKind};
use http::{HeaderValue, StatusCode, header};

/// Response headers that scripts may read, in addition to those that are always allowed.
const EXPOSED: &str = "request-id, x-request-id, retry-after, retry-after-ms, x-should-retry, idempotent-replayed, x-model, \
    x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, \
    x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, anthropic-ratelimit-requests-limit, anthropic-ratelimit-requests-remaining, \
    anthropic-ratelimit-requests-reset, anthropic-ratelimit-tokens-limit, anthropic-ratelimit-tokens-remaining, \
    anthropic-ratelimit-tokens-reset";
/// Seconds for which a browser may remember the answer to a preflight.
const MAX_AGE: &str = "600";
/// Maximum length of an origin: a scheme, a host name and a port.
const MAX_ORIGIN: usize = 300;

/// `OPTIONS /v1/…`: responds whether a web page may call. A preflight names no key, so it is allowed for the origins that any key lists; the call
/// itself is made only with a key that lists its origin.
pub(super) async fn preflight(State(app): State<AppState>, request: Request) -> Response {
    let about = About::of(&request);
    match is_allowed(&app, &about).await {
        Ok(true) => {}
        Ok(false) => {
            let message = "No API key allows calls from this origin. Add it to a key's origins at /settings/keys.";
            return error::response(&about, Problem::new(ProblemKind::Forbidden, message));
        }
        Err(Failure(problem)) => return error::response(&about, problem),
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    // Clients send headers of their own, which mean nothing here.
    if let Some(names) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    headers.insert(header::VARY, HeaderValue::from_static("origin, access-control-request-headers"));
    if let Some(origin) = about.origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

async fn is_allowed(app: &AppState, about: &About) -> Result<bool, Failure> {
    let origin = about.origin.as_ref().and_then(|origin| origin.to_str().ok());
    match origin.filter(|origin| origin.len() <= MAX_ORIGIN) {
        Some(origin) => Ok(store::api_key::is_allowed_origin(&app.db, origin).await?),
        None => Ok(false),
    }
}

/// Returns whether a key lists an origin.
pub(super) fn is_listed(key: &ApiKey, origin: &HeaderValue) -> bool {
    key.allowed_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
}

/// Lets the web page that sent a request read its response, if the key lists the page's origin.
pub(super) fn allow(response: &mut Response, about: &About, key: &ApiKey) {
    let Some(origin) = &about.origin else { return };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if is_listed(key, origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

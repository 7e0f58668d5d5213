//! Middleware around every page, form and API call: refuses floods of requests to `/api/` and of passwords before anything is loaded for them,
//! and writes the security log's lines about refused requests.

use crate::AppState;
use crate::accounts::session::cookie_name;
use crate::failure::Failure;
use crate::http::browser::cookie;
use crate::http::busy;
use crate::http::current_user::CurrentUser;
use crate::http::error::ResponseProblem;
use crate::http::origin::Client;
use crate::protection::api_limits::SessionKey;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use domain::{Problem, ProblemKind, UserId};
use futures::StreamExt as _;
use http::{Method, StatusCode, Uri};
use std::time::{Duration, Instant};

const ESTIMATE: &str = "/api/estimate";
/// Maximum size of the body of a refused estimate that is read and dropped, in bytes, and the time for it to arrive.
const MAX_DRAINED: u64 = 256 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
const TOO_MANY: &str = "Too many requests in a short time. Your draft is kept; wait a moment.";

/// Middleware outside of everything that costs a query.
pub(crate) async fn protect(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let client = Client::of(&app, &request);
    if let Some(peer) = client.ignored_forward {
        app.protection.forwards.note(peer, AppState::now());
    }
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let busy_form = busy::busy_form(&app, &request);
    let response = match busy_form {
        Some(form) => busy::refuse(&app, form).await,
        None if uri.path().starts_with("/api/") => answer_api(&app, client, request, next).await,
        None => next.run(request).await,
    };
    if is_forbidden(&response) {
        log_forbidden(&app, client, &method, &uri, &response);
    }
    response
}

/// Middleware inside of the identification of the user: names the user of a forbidden request for the security log.
pub(crate) async fn name_forbidden_user(request: Request, next: Next) -> Response {
    let user = request.extensions().get::<CurrentUser>().and_then(|user| user.0.as_ref()).map(|viewer| viewer.user_id);
    let mut response = next.run(request).await;
    if let Some(user) = user.filter(|_| response.status() == StatusCode::FORBIDDEN) {
        response.extensions_mut().insert(user);
    }
    response
}

/// Refuses a request that exceeds the limits of its session or address, or an estimate that was just refused. Passes on any other.
async fn answer_api(app: &AppState, client: Client, request: Request, next: Next) -> Response {
    let limits = &app.protection.api;
    let token = cookie(request.headers(), cookie_name(app.config.is_https()));
    let session = token.map(|token| limits.session_key(&token));
    if let Err(retry_after_ms) = limits.count(client.network(), session) {
        return refuse(TOO_MANY, retry_after_ms);
    }
    let Some(session) = session.filter(|_| request.uri().path() == ESTIMATE) else { return next.run(request).await };
    let bytes = request.body().size_hint().lower();
    if let Some(retry_after_ms) = limits.refused_estimate(session, bytes, Instant::now()) {
        drain(request.into_body()).await;
        return refuse(TOO_MANY, retry_after_ms);
    }
    let response = next.run(request).await;
    note_refused_estimate(app, session, bytes, &response);
    response
}

/// Reads and drops the body of a refused request, so that its connection is kept. hyper closes one whose body is left unread: the next request
/// would cost a new connection, which takes more processor time than these bytes, and a client that is still sending may see no response. A
/// large body, or one that arrives slowly, isn't worth it.
pub(super) async fn drain(body: Body) {
    if body.size_hint().exact().is_none_or(|bytes| bytes > MAX_DRAINED) {
        return;
    }
    let mut pieces = body.into_data_stream();
    let drained = async { while let Some(Ok(_)) = pieces.next().await {} };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
}

/// Records the refusal of an estimate that exceeds its user's budget.
fn note_refused_estimate(app: &AppState, session: SessionKey, bytes: u64, response: &Response) {
    let refused = response.extensions().get::<ResponseProblem>();
    if let Some(ResponseProblem { kind: ProblemKind::AttemptsLimit, retry_after_ms: Some(ms) }) = refused {
        app.protection.api.note_refused_estimate(session, bytes, *ms, Instant::now());
    }
}

fn refuse(message: &str, retry_after_ms: u64) -> Response {
    let problem = Problem::attempts_limit(message, retry_after_ms);
    metrics::counter!("quotient_refusals_total", "kind" => problem.kind.as_str()).increment(1);
    Failure(problem).into_response()
}

/// Returns whether a request was refused for its sender. An account that is paused or unverified is refused as well, but breaks no rule.
fn is_forbidden(response: &Response) -> bool {
    let kind = response.extensions().get::<ResponseProblem>().map(|problem| problem.kind);
    response.status() == StatusCode::FORBIDDEN && kind.is_none_or(|kind| kind == ProblemKind::Forbidden)
}

fn log_forbidden(app: &AppState, client: Client, method: &Method, uri: &Uri, response: &Response) {
    let user = response.extensions().get::<UserId>().map(tracing::field::display);
    let origin = client.origin(app).unwrap_or_default();
    tracing::warn!(target: "security", event = "forbidden", %method, path = uri.path(), user, origin, "request refused");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_forbidden_requests_are_logged() {
        let response = |problem: Problem| Failure(problem).into_response();
        assert!(is_forbidden(&response(Problem::new(ProblemKind::Forbidden, ""))));
        assert!(is_forbidden(&StatusCode::FORBIDDEN.into_response()));
        assert!(!is_forbidden(&response(Problem::paused())));
        assert!(!is_forbidden(&response(Problem::not_found("page"))));
        assert!(!is_forbidden(&StatusCode::OK.into_response()));
    }
}

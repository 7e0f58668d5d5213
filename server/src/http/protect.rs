//! Middleware around every page, form and API call: refuses floods of requests to `/api/` before anything is loaded for them, and writes the
//! security log's lines about refused requests.

use crate::AppState;
use crate::failure::Failure;
use crate::http::current_user::CurrentUser;
use crate::http::error::ResponseProblem;
use crate::http::origin::Client;
use crate::protection::api_limits::SessionKey;
use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use domain::{Problem, ProblemKind, UserId};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use std::time::Instant;

const ESTIMATE: &str = "/api/estimate";
const TOO_MANY: &str = "Too many requests in a short time. Your draft is kept; wait a moment.";

/// Middleware outside of everything that costs a query.
pub(crate) async fn protect(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let client = Client::of(&app, &request);
    if let Some(peer) = client.ignored_forward {
        app.protection.forwards.note(peer, AppState::now());
    }
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = match uri.path().starts_with("/api/") {
        true => answer_api(&app, client, request, next).await,
        false => next.run(request).await,
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
    let session = session_token(request.headers(), cookie_name(app)).map(|token| limits.session_key(token));
    if let Err(retry_after_ms) = limits.count(client.network(), session) {
        return refuse(TOO_MANY, retry_after_ms);
    }
    let Some(session) = session.filter(|_| request.uri().path() == ESTIMATE) else { return next.run(request).await };
    let bytes = request.body().size_hint().lower();
    if let Some(retry_after_ms) = limits.refused_estimate(session, bytes, Instant::now()) {
        return refuse(TOO_MANY, retry_after_ms);
    }
    let response = next.run(request).await;
    note_refused_estimate(app, session, bytes, &response);
    response
}

/// Remembers the refusal of an estimate that exceeds its user's budget.
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

/// Returns the name of the session's cookie, as the session layer sets it.
fn cookie_name(app: &AppState) -> &'static str {
    if app.config.is_https() { "__Host-session" } else { "session" }
}

fn session_token<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
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
    use http::HeaderValue;
    use proptest::prelude::*;

    #[test]
    fn the_session_is_read_from_its_own_cookie() {
        let token = |cookies: &[&str], name: &str| {
            let cookies = cookies.iter().map(|cookie| (header::COOKIE, cookie.parse().unwrap()));
            session_token(&cookies.collect(), name).map(str::to_owned)
        };
        assert_eq!(token(&["session=abc"], "session").as_deref(), Some("abc"));
        assert_eq!(token(&["a=1; session=abc; b=2"], "session").as_deref(), Some("abc"));
        assert_eq!(token(&["a=1", "b=2;session=abc"], "session").as_deref(), Some("abc"));
        assert_eq!(token(&["__Host-session=abc; session=x"], "__Host-session").as_deref(), Some("abc"));
        for other in ["", "session", "my-session=abc", "sessions=abc", "__Host-session=abc"] {
            assert_eq!(token(&[other], "session"), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_cookie_makes_parsing_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), text in "(session|;| |=|[a-z]){0,30}") {
            for value in [HeaderValue::from_bytes(&bytes).ok(), HeaderValue::from_str(&text).ok()].into_iter().flatten() {
                let headers = HeaderMap::from_iter([(header::COOKIE, value.clone())]);
                let is_named = value.to_str().is_ok_and(|text| text.contains("session="));
                prop_assert!(session_token(&headers, "session").is_none_or(|token| is_named && !token.contains(';')));
            }
        }
    }

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

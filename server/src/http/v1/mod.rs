//! The API for other software, in the formats of OpenAI and Anthropic. Its routes have no session, no cookies and no check of the request's origin: only
//! an API key authenticates, which no browser sends by itself.

mod about;
mod body;
mod caller;
mod calls;
mod cors;
mod count;
mod error;
mod limits;
mod models;

pub(super) use caller::is_key_in_path;

use crate::AppState;
use crate::http::origin::Client;
use about::About;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{any, get, post};
use domain::Problem;
use http::{HeaderName, HeaderValue, Method, header};
use tower_http::set_header::SetResponseHeaderLayer;

/// Header that clients of Anthropic read the request's id from. Clients of OpenAI read `x-request-id`.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const TOO_MANY: &str = "Too many requests in a short time. Wait a moment.";

/// Returns the routes beneath `/v1`. The three that call a model admit their call in `turn::call`.
pub(super) fn routes(app: &AppState) -> Router<AppState> {
    Router::new()
        .route("/v1/chat/completions", post(calls::chat_completions).options(cors::preflight))
        .route("/v1/responses", post(calls::responses).options(cors::preflight))
        .route("/v1/messages", post(calls::messages).options(cors::preflight))
        .route("/v1/messages/count_tokens", post(count::count_tokens).options(cors::preflight))
        .route("/v1/models", get(models::list).options(cors::preflight))
        .route("/v1/models/{*model}", get(models::show).options(cors::preflight))
        .method_not_allowed_fallback(wrong_method)
        .route("/v1", any(missing))
        .route("/v1/{*path}", any(missing))
        .layer(from_fn_with_state(app.clone(), protect))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-store"),
        ))
}

/// Middleware that refuses a flood of requests of one key or one address before anything is loaded for them, and names the request in the
/// header of the other format too.
async fn protect(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let about = About::of(&request);
    let client = Client::of(&app, &request);
    if let Some(peer) = client.ignored_forward {
        app.protection.forwards.note(peer, AppState::now());
    }
    let limits = &app.protection.api;
    let token = caller::credential(request.headers());
    let key = token.and_then(|token| token.to_str().ok()).map(|token| limits.session_key(token));
    let mut response = match limits.count(client.network(), key) {
        Ok(()) => next.run(request).await,
        Err(retry_after_ms) => {
            let problem = Problem::attempts_limit(TOO_MANY, retry_after_ms);
            metrics::counter!("quotient_refusals_total", "kind" => problem.kind.as_str()).increment(1);
            error::response(&about, problem)
        }
    };
    if let Some(id) = about.id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Responds to a path that isn't offered.
async fn missing(request: Request) -> Response {
    error::response(&About::of(&request), Problem::not_found("endpoint"))
}

/// Responds to a method that a path doesn't have.
async fn wrong_method(method: Method, request: Request) -> Response {
    let mut response =
        error::response(&About::of(&request), Problem::invalid("", format!("{method} isn't allowed for this path.")));
    *response.status_mut() = http::StatusCode::METHOD_NOT_ALLOWED;
    response
}

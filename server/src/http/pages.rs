//! Renders pages on the server, each with its content security policy.

use crate::AppState;
use crate::accounts::session;
use crate::failure::Failure;
use crate::http::current_user::CurrentUser;
use app::page_context::{FailedForm, PageContext};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use domain::Problem;
use http::{Extensions, HeaderValue, StatusCode, header, request::Parts};
use leptos::prelude::*;
use leptos_axum::ResponseOptions;
use tower_sessions::Session;

/// Renders the page of the request's URL.
pub(crate) async fn page(State(app): State<AppState>, request: Request) -> Response {
    draw(&app, request, FailedForm::default(), None).await
}

/// Renders the not-found page, or returns the problem as JSON below `/api/`.
pub(crate) async fn missing(State(app): State<AppState>, request: Request) -> Response {
    let problem = Problem::not_found("page");
    if request.uri().path().starts_with("/api/") {
        return Failure(problem).into_response();
    }
    draw(&app, request, FailedForm::default(), Some(problem)).await
}

/// Renders a form's page again with the submitted values and the errors, with status 422.
pub(crate) async fn form_again(app: &AppState, request: Request, form: FailedForm) -> Response {
    let mut response = draw(app, request, form, None).await;
    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    response
}

/// Renders a form's page again with the reason it was refused and when to retry.
pub(crate) async fn form_refused(
    app: &AppState,
    request: Request,
    values: Vec<(&'static str, String)>,
    failure: Failure,
) -> Response {
    let problem = failure.0.clone();
    let wait = problem.retry_after_ms.map(|ms| format!(" It works again in {}.", app::components::duration::wait(ms)));
    let sentence = format!("{}{}", problem.message, wait.unwrap_or_default());
    let mut page = draw(app, request, FailedForm { values, errors: vec![("", sentence)] }, None).await;
    // Use the status and `Retry-After` header of the API response.
    let answer = failure.into_response();
    *page.status_mut() = answer.status();
    if let Some(seconds) = answer.headers().get(header::RETRY_AFTER) {
        page.headers_mut().insert(header::RETRY_AFTER, seconds.clone());
    }
    page
}

/// Renders a page that shows a problem.
pub(crate) async fn problem(app: &AppState, request: Request, problem: Problem) -> Response {
    draw(app, request, FailedForm::default(), Some(problem)).await
}

async fn draw(app: &AppState, request: Request, form: FailedForm, problem: Option<Problem>) -> Response {
    let (mut parts, _) = request.into_parts();
    let status = problem.as_ref().and_then(|problem| StatusCode::from_u16(problem.status()).ok());
    let retry = problem.as_ref().and_then(Problem::retry_after_seconds);
    let viewer = parts.extensions.get::<CurrentUser>().and_then(|user| user.0.clone());
    let query = parts.uri.query().map(pairs);
    let session_hash = session_hash(&parts.extensions);
    parts.extensions.insert(PageContext {
        path: parts.uri.path().to_owned(),
        query: query.unwrap_or_default(),
        viewer,
        session_hash,
        form,
        problem,
    });
    let (state, reload, options) = (app.page_state(), app.config.live_reload_port, leptos_options(app));
    let handler = leptos_axum::render_app_async_with_context(
        move || provide(&state, reload),
        move || app::shell(options.clone()),
    );
    let mut response = handler(Request::from_parts(parts, Body::empty())).await;
    if let Some(status) = status {
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-store"));
    if let Some(seconds) = retry {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Returns the hash of the request's session token; empty without a session.
fn session_hash(extensions: &Extensions) -> Vec<u8> {
    let token = extensions.get::<Session>().and_then(Session::id);
    token.map(|token| session::token_hash(&token).to_vec()).unwrap_or_default()
}

/// Provides the context that every page and server function reads.
pub(crate) fn provide(state: &app::api::context::PageState, reload_port: Option<u16>) {
    provide_context(state.clone());
    let parts = use_context::<Parts>();
    let context = parts.and_then(|parts| {
        // Requests to server functions have a viewer but no page context.
        parts.extensions.get::<PageContext>().cloned().or_else(|| {
            let viewer = parts.extensions.get::<CurrentUser>().and_then(|user| user.0.clone());
            let (path, session_hash) = (parts.uri.path().to_owned(), session_hash(&parts.extensions));
            Some(PageContext { path, viewer, session_hash, ..PageContext::default() })
        })
    });
    provide_context(context.unwrap_or_default());
    provide_context(state.panic_handler());
    // Chromium applies `form-action` to the redirects of a form as well.
    let actions: String = state.payment_pages.iter().map(|page| format!(" {page}")).collect();
    if let (Some(response), Some(nonce)) = (use_context::<ResponseOptions>(), use_nonce()) {
        let connect =
            reload_port.map(|port| format!(" ws://127.0.0.1:{port} ws://localhost:{port}")).unwrap_or_default();
        let policy = format!(
            "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; style-src 'self'; font-src 'self'; \
             img-src 'self' data:; connect-src 'self'{connect}; form-action 'self'{actions}; frame-ancestors 'none'; base-uri 'none'"
        );
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            response.insert_header(header::CONTENT_SECURITY_POLICY, policy);
        }
    }
}

/// Parses a query string into decoded pairs.
fn pairs(query: &str) -> Vec<(String, String)> {
    let uri = format!("/?{query}").parse::<http::Uri>();
    uri.ok()
        .and_then(|uri| axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).ok())
        .map(|axum::extract::Query(pairs)| pairs)
        .unwrap_or_default()
}

/// Builds the leptos options from the configuration, because only `config` reads the environment. Release builds have hashed file names,
/// which cargo-leptos lists in a file next to the binary.
pub(crate) fn leptos_options(app: &AppState) -> LeptosOptions {
    let site_root = app.config.site_root.to_string_lossy().into_owned();
    LeptosOptions::builder()
        .output_name("quotient")
        .site_root(site_root)
        .site_addr(app.config.listen_addr)
        .reload_port(u32::from(app.config.live_reload_port.unwrap_or(3001)))
        .hash_files(!cfg!(debug_assertions))
        .build()
}

//! Renders pages on the server, each with its content security policy.

use crate::AppState;
use crate::accounts::session;
use crate::config::CaptchaProvider;
use crate::failure::{Failure, internal};
use crate::http::browser;
use crate::http::current_user::CurrentUser;
use crate::http::error::ResponseProblem;
use crate::http::next::return_path;
use app::page_context::{FailedForm, PageContext};
use app::view::captcha::CaptchaWidget;
use app::view::factors::FactorResult;
use app::view::provider::FormResult;
use app::view::share::ShareView;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use domain::{Problem, Viewer};
use http::{HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use leptos::prelude::*;
use leptos_axum::ResponseOptions;
use tower_sessions::Session;

/// Renders the page of the request's URL.
pub(crate) async fn page(State(app): State<AppState>, request: Request) -> Response {
    draw(&app, request, PageContext::default()).await
}

/// Renders a page from `content/`, or the not-found page if there is no such text.
pub(crate) async fn content(State(app): State<AppState>, request: Request) -> Response {
    let content = app.content.at(request.uri().path());
    let problem = content.is_none().then(|| Problem::not_found("page"));
    draw(&app, request, PageContext { content, problem, ..PageContext::default() }).await
}

/// Renders the not-found page, or returns the problem as JSON below `/api/`.
pub(crate) async fn missing(State(app): State<AppState>, request: Request) -> Response {
    let problem = Problem::not_found("page");
    if request.uri().path().starts_with("/api/") {
        return Failure(problem).into_response();
    }
    draw(&app, request, PageContext { problem: Some(problem), ..PageContext::default() }).await
}

/// Refuses a method that a path doesn't have. A browser that opens the path of a form gets a page.
pub(crate) async fn wrong_method(state: State<AppState>, request: Request) -> Response {
    if request.method() != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let mut response = missing(state, request).await;
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}

/// Renders a form's page again with the submitted values and the errors, with status 422.
pub(crate) async fn form_again(app: &AppState, request: Request, form: FailedForm) -> Response {
    let mut response = draw(app, request, PageContext { form, ..PageContext::default() }).await;
    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    response
}

/// Renders the page at `path`, which a form was on, with the form's result.
pub(crate) async fn form_result(
    app: &AppState,
    mut request: Request,
    path: &'static str,
    result: FormResult,
) -> Response {
    *request.uri_mut() = Uri::from_static(path);
    draw(app, request, PageContext { result: Some(result), ..PageContext::default() }).await
}

/// Renders the page of a shared link.
pub(crate) async fn shared(app: &AppState, request: Request, share: ShareView) -> Response {
    draw(app, request, PageContext { share: Some(share), ..PageContext::default() }).await
}

/// Renders the page at `path` with a secret that only this response shows, and the errors of a rejected form, if any, with status 422.
pub(crate) async fn factor_result(
    app: &AppState,
    mut request: Request,
    path: &'static str,
    form: FailedForm,
    result: FactorResult,
) -> Response {
    *request.uri_mut() = Uri::from_static(path);
    let is_rejected = !form.errors.is_empty();
    let mut response = draw(app, request, PageContext { form, factor: Some(result), ..PageContext::default() }).await;
    if is_rejected {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    response
}

/// Renders the page at `path`, which a form was on, with the form's errors and status 422.
pub(crate) async fn form_again_at(
    app: &AppState,
    mut request: Request,
    path: &'static str,
    form: FailedForm,
) -> Response {
    *request.uri_mut() = Uri::from_static(path);
    form_again(app, request, form).await
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
    let form = FailedForm { values, errors: vec![("", sentence)] };
    let mut page = draw(app, request, PageContext { form, ..PageContext::default() }).await;
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
    draw(app, request, PageContext { problem: Some(problem), ..PageContext::default() }).await
}

/// Renders a page that shows a problem with a link to the next step, which then leads to the path `next`.
pub(crate) async fn problem_on_the_way(app: &AppState, request: Request, problem: Problem, next: String) -> Response {
    let form = FailedForm { values: vec![("next", next)], errors: Vec::new() };
    draw(app, request, PageContext { problem: Some(problem), form, ..PageContext::default() }).await
}

/// Renders the page of the request's URL. Of `content`, the path, the query, the way back and the viewer are those of the request.
async fn draw(app: &AppState, request: Request, content: PageContext) -> Response {
    let here = return_path(&request).unwrap_or_default();
    let (mut parts, _) = request.into_parts();
    let status = content.problem.as_ref().and_then(|problem| StatusCode::from_u16(problem.status()).ok());
    let retry = content.problem.as_ref().and_then(Problem::retry_after_seconds);
    let about = content.problem.as_ref().map(|problem| (problem.kind, problem.retry_after_ms));
    let query = parts.uri.query().map(pairs).unwrap_or_default();
    let captcha = captcha_of(app, parts.uri.path());
    let (has_passkeys, has_demo) = (app.relying_party.is_some(), app.has_demo());
    let site_url = app.config.public_url.clone();
    let mut context =
        PageContext { here, query, captcha, has_passkeys, has_demo, site_url, ..request_context(&parts, content) };
    if let Some(viewer) = &mut context.viewer {
        localize_grace(app, viewer).await;
        if parts.uri.path().starts_with("/chat") {
            app.counting.preload_vocabulary();
        }
    }
    parts.extensions.insert(context);
    let (state, reload, options) = (app.page_state(), app.config.live_reload_port, leptos_options(app));
    let handler = leptos_axum::render_app_async_with_context(
        move || provide(&state, reload),
        move || app::shell(options.clone()),
    );
    let mut response = handler(Request::from_parts(parts, Body::empty())).await;
    if let Some(status) = status {
        *response.status_mut() = status;
    }
    if let Some((kind, retry_after_ms)) = about {
        response.extensions_mut().insert(ResponseProblem { kind, retry_after_ms });
    }
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-store"));
    if let Some(seconds) = retry {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Gives the end of the grace period, which every page shows while a payment is overdue, the offset of the user's time zone. It keeps that of
/// UTC if the query fails.
async fn localize_grace(app: &AppState, viewer: &mut Viewer) {
    let Some(until) = viewer.grace_until else { return };
    match store::local_time::in_zone(&app.db, &viewer.time_zone, &[until]).await {
        Ok(local) => viewer.grace_until = local.first().copied(),
        Err(error) => drop(internal(&error)),
    }
}

/// Returns the captcha of the page at `path`, if its form has one.
fn captcha_of(app: &AppState, path: &str) -> Option<CaptchaWidget> {
    let captcha = app.config.captcha.as_ref().filter(|_| matches!(path, "/sign-up" | "/forgot"))?;
    let (script, class, sources) = match captcha.provider {
        CaptchaProvider::Turnstile => (
            "https://challenges.cloudflare.com/turnstile/v0/api.js",
            "cf-turnstile",
            "https://challenges.cloudflare.com",
        ),
        CaptchaProvider::Hcaptcha => {
            ("https://js.hcaptcha.com/1/api.js", "h-captcha", "https://hcaptcha.com https://*.hcaptcha.com")
        }
    };
    Some(CaptchaWidget { script, class, site_key: captcha.site_key.clone(), sources })
}

/// Returns a context with the path, the viewer, the theme and the hash of the session of a request, and the rest of `content`.
fn request_context(parts: &Parts, content: PageContext) -> PageContext {
    let token = parts.extensions.get::<Session>().and_then(Session::id);
    PageContext {
        path: parts.uri.path().to_owned(),
        viewer: parts.extensions.get::<CurrentUser>().and_then(|user| user.0.clone()),
        theme: browser::theme(&parts.headers),
        hides_sidebar: browser::hides_sidebar(&parts.headers),
        session_hash: token.map(|token| session::token_hash(&token).to_vec()).unwrap_or_default(),
        ..content
    }
}

/// Provides the context that every page and server function reads.
pub(crate) fn provide(state: &app::api::context::PageState, reload_port: Option<u16>) {
    provide_context(state.clone());
    let parts = use_context::<Parts>();
    let context = parts.map(|parts| {
        // Requests to server functions have no page context.
        parts
            .extensions
            .get::<PageContext>()
            .cloned()
            .unwrap_or_else(|| request_context(&parts, PageContext::default()))
    });
    let context = context.unwrap_or_default();
    // Only the pages with a captcha load anything from another site.
    let captcha = context.captcha.as_ref().map(|captcha| captcha.sources);
    let also = captcha.map(|sources| format!(" {sources}")).unwrap_or_default();
    let frames = captcha.map(|sources| format!("; frame-src {sources}")).unwrap_or_default();
    provide_context(context);
    provide_context(state.panic_handler());
    // Chromium applies `form-action` to the redirects of a form as well.
    let sign_in_pages = (state.identity_pages)();
    let pages = state.payment_pages.iter().chain(&sign_in_pages);
    let actions: String = pages.map(|page| format!(" {page}")).collect();
    if let (Some(response), Some(nonce)) = (use_context::<ResponseOptions>(), use_nonce()) {
        let connect =
            reload_port.map(|port| format!(" ws://127.0.0.1:{port} ws://localhost:{port}")).unwrap_or_default();
        let policy = format!(
            "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'{also}; style-src 'self' 'nonce-{nonce}'{also}; font-src 'self'; \
             manifest-src 'self'; img-src 'self' data:; connect-src 'self'{connect}{also}{frames}; form-action 'self'{actions}; frame-ancestors 'none'; base-uri 'none'"
        );
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            response.insert_header(header::CONTENT_SECURITY_POLICY, policy);
        }
    }
}

/// Parses a query string into decoded pairs.
pub(crate) fn pairs(query: &str) -> Vec<(String, String)> {
    let uri = format!("/?{query}").parse::<Uri>();
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

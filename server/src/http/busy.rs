//! Refuses sign-ins and sign-ups while too many passwords wait to be hashed, before their bodies are read and before any query: a flood of
//! them must not slow down chat.

use crate::AppState;
use crate::failure::{Failure, internal};
use crate::http::browser::{THEME_COOKIE, theme};
use crate::http::error::ResponseProblem;
use crate::http::pages;
use crate::protection::busy_pages::RenderedPage;
use app::view::theme::Theme;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use domain::Problem;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use std::time::Instant;

/// Forms of visitors whose passwords are hashed. The pages that have them are at the same paths.
const FORMS: [&str; 2] = ["/sign-in", "/sign-up"];
/// Maximum size of the page, in bytes.
const MAX_PAGE: usize = 1024 * 1024;
const BUSY: &str = "Many people are signing in right now. Go back and submit the form again in a few seconds.";

/// A form that can't be processed now, and the theme of its visitor.
#[derive(Clone, Copy, Debug)]
pub(super) struct BusyForm {
    path: &'static str,
    theme: Theme,
}

/// Returns the form that a request submits, if it must be refused because too many passwords wait.
pub(super) fn busy_form(app: &AppState, request: &Request) -> Option<BusyForm> {
    let path = FORMS.into_iter().find(|path| *path == request.uri().path())?;
    let is_refused = request.method() == Method::POST && !app.passwords.has_room();
    is_refused.then(|| BusyForm { path, theme: theme(request.headers()) })
}

/// Responds with 503 and a page with the time to try again.
pub(super) async fn refuse(app: &AppState, form: BusyForm) -> Response {
    let (now, kept) = (Instant::now(), &app.protection.busy_pages);
    let page = match kept.get(form.path, form.theme, now) {
        Some(page) => page,
        None => match render(app, form).await {
            Ok(page) => {
                kept.put(form.path, form.theme, page.clone(), now);
                page
            }
            Err(failure) => return failure.into_response(),
        },
    };
    let mut response = Response::new(Body::from(page.html));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    *response.headers_mut() = page.headers;
    let Problem { kind, retry_after_ms, .. } = problem();
    response.extensions_mut().insert(ResponseProblem { kind, retry_after_ms });
    response
}

fn problem() -> Problem {
    Problem { message: BUSY.to_owned(), ..Problem::overloaded() }
}

/// Renders the page from a request's path and theme only.
async fn render(app: &AppState, form: BusyForm) -> Result<RenderedPage, Failure> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static(form.path);
    if let Ok(cookie) = HeaderValue::from_str(&format!("{THEME_COOKIE}={}", form.theme.as_str())) {
        request.headers_mut().insert(header::COOKIE, cookie);
    }
    let (parts, body) = pages::problem(app, request, problem()).await.into_parts();
    let html = to_bytes(body, MAX_PAGE).await.map_err(|error| Failure(internal(&error)))?;
    Ok(RenderedPage { headers: parts.headers, html })
}

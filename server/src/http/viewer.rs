//! Identifies the user of a request and guards routes.

use crate::AppState;
use crate::accounts::session;
use crate::failure::Failure;
use crate::http::current_user::CurrentUser;
use crate::http::pages;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use domain::Problem;
use tower_sessions::Session;

/// Middleware that loads the session's user. A session whose account was deleted counts as signed out.
pub(crate) async fn identify(
    State(app): State<AppState>,
    session: Session,
    mut request: Request,
    next: Next,
) -> Response {
    // The session data isn't loaded here: the session's row names the user.
    let viewer = match session.id() {
        None => None,
        Some(id) => match store::session::viewer(&app.db, &session::token_hash(&id), AppState::now()).await {
            Ok(viewer) => viewer,
            Err(error) => return Failure::from(error).into_response(),
        },
    };
    request.extensions_mut().insert(CurrentUser(viewer));
    next.run(request).await
}

/// Middleware that admits only signed-in users and redirects others to the sign-in page.
pub(crate) async fn signed_in(request: Request, next: Next) -> Response {
    if request.extensions().get::<CurrentUser>().is_some_and(|user| user.0.is_some()) {
        return next.run(request).await;
    }
    Redirect::to(&format!("/sign-in?next={}", request.uri().path())).into_response()
}

/// Middleware that admits only admins and responds with 404 to others.
pub(crate) async fn admins(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let is_admin = request
        .extensions()
        .get::<CurrentUser>()
        .and_then(|user| user.0.as_ref())
        .is_some_and(|viewer| viewer.is_admin);
    if is_admin {
        return next.run(request).await;
    }
    pages::problem(&app, request, Problem::not_found("page")).await
}

//! Accounts, passwords and sessions.

pub(crate) mod attempts;
pub(crate) mod email;
pub(crate) mod forms;
pub(crate) mod password;
pub(crate) mod session;

use crate::error::Refused;
use crate::{AppState, pages};
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use domain::{Problem, Viewer};
use http::request::Parts;
use std::convert::Infallible;
use tower_sessions::Session;

/// Session key of the user's id.
pub(crate) const USER: &str = "user_id";

/// The signed-in user, if any. Loaded once per request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Who(pub Option<Viewer>);

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
            Err(error) => return Refused::from(error).into_response(),
        },
    };
    request.extensions_mut().insert(Who(viewer));
    next.run(request).await
}

/// Middleware that admits only signed-in users and redirects others to the sign-in page.
pub(crate) async fn signed_in(request: Request, next: Next) -> Response {
    if request.extensions().get::<Who>().is_some_and(|who| who.0.is_some()) {
        return next.run(request).await;
    }
    Redirect::to(&format!("/sign-in?next={}", request.uri().path())).into_response()
}

/// Middleware that admits only admins and responds with 404 to others.
pub(crate) async fn admins(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let is_admin =
        request.extensions().get::<Who>().and_then(|who| who.0.as_ref()).is_some_and(|viewer| viewer.is_admin);
    if is_admin {
        return next.run(request).await;
    }
    pages::problem(&app, request, Problem::not_found("page")).await
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Extracts the signed-in user, or responds with 401.
pub(crate) struct SignedIn(pub Viewer);

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let viewer = parts.extensions.get::<Who>().and_then(|who| who.0.clone());
        viewer.map(Self).ok_or_else(|| Refused(Problem::sign_in_required()))
    }
}

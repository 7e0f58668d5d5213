//! Identifies the user of a request and guards routes.

use crate::AppState;
use crate::accounts::{activity, session};
use crate::failure::{Failure, internal};
use crate::http::browser::client_info;
use crate::http::current_user::CurrentUser;
use crate::http::next::{return_path, with_next};
use crate::http::pages;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use domain::{Problem, ProblemKind, SecurityEvent, Viewer};
use http::header;
use tower_sessions::Session;

/// Middleware that loads the session's user, and renews a session in use. A session whose account was deleted counts as signed out. If the user
/// can't be loaded, a browser that requests a page is shown the problem as one, and scripts receive it as JSON.
pub(crate) async fn identify(
    State(app): State<AppState>,
    session: Session,
    mut request: Request,
    next: Next,
) -> Response {
    // The session data isn't loaded here: the session's row names the user.
    let viewer = match session::current_hash(&session) {
        None => None,
        Some(token_hash) => match load(&app, token_hash).await {
            Ok(viewer) => viewer,
            Err(error) => {
                let Failure(problem) = Failure::from(error);
                return match accepts_html(&request) {
                    true => pages::problem(&app, request, problem).await,
                    false => Failure(problem).into_response(),
                };
            }
        },
    };
    request.extensions_mut().insert(CurrentUser(viewer));
    next.run(request).await
}

/// Returns whether a browser requests a page, which scripts don't.
fn accepts_html(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Loads the user of a live session.
async fn load(app: &AppState, token_hash: [u8; 32]) -> store::Result<Option<Viewer>> {
    let viewer = store::session::viewer(&app.db, &token_hash, AppState::now()).await?;
    if viewer.is_some()
        && let Err(error) = session::renew(app, token_hash).await
    {
        // The request itself doesn't need it.
        internal(&error);
    }
    Ok(viewer)
}

fn viewer(request: &Request) -> Option<&Viewer> {
    request.extensions().get::<CurrentUser>().and_then(|user| user.0.as_ref())
}

/// Middleware that admits only signed-in users and redirects others to the sign-in page, which leads back.
pub(crate) async fn signed_in(request: Request, next: Next) -> Response {
    if viewer(&request).is_some() {
        return next.run(request).await;
    }
    Redirect::to(&with_next("/sign-in", return_path(&request).as_deref())).into_response()
}

/// Middleware that admits only users who proved who they are within the last ten minutes. Others are redirected to the page that confirms their
/// identity. For routes behind [`admins`] or [`signed_in`].
pub(crate) async fn recently_confirmed(request: Request, next: Next) -> Response {
    if viewer(&request).is_some_and(|viewer| viewer.has_recent_proof(AppState::now())) {
        return next.run(request).await;
    }
    Redirect::to(&with_next("/sign-in/confirm", return_path(&request).as_deref())).into_response()
}

/// Middleware in front of changes of how a user signs in. Admits whom [`recently_confirmed`] admits, except sessions that were proved with one
/// factor although the user has a second one: the password alone must be enough neither to remove that one nor to add another.
pub(crate) async fn fully_confirmed(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let Some(current) = viewer(&request).cloned() else { return recently_confirmed(request, next).await };
    match lacks_second_factor(&app, &current).await {
        Ok(true) => Redirect::to(&second_confirmation(return_path(&request).as_deref())).into_response(),
        Ok(false) => recently_confirmed(request, next).await,
        Err(error) => Failure::from(error).into_response(),
    }
}

/// Middleware that admits only sessions that were proved with two factors, if `REQUIRE_MFA` is set. Others are redirected to the page that proves the
/// second factor and then leads back, or to the one that adds it. For routes behind [`signed_in`].
pub(crate) async fn two_factors(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let Some(user) = viewer(&request).filter(|_| app.config.require_mfa).cloned() else {
        return next.run(request).await;
    };
    with_two_factors(&app, &user, request, next).await
}

/// Middleware that admits the same sessions as [`two_factors`], for routes that scripts request: others get 401, as visitors do from the handlers.
pub(crate) async fn two_factors_of_scripts(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let is_missing = app.config.require_mfa && viewer(&request).is_some_and(|user| !user.is_two_factor);
    if !is_missing {
        return next.run(request).await;
    }
    let message = "You need a second factor to continue. Reload the page to add or confirm it.";
    Failure(Problem::new(ProblemKind::SignInRequired, message)).into_response()
}

/// Middleware in front of what users may do before they have a second factor that `REQUIRE_MFA` requires, such as adding it. Users who have one
/// prove it first. For routes behind [`signed_in`].
pub(crate) async fn no_factor_or_two(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let Some(user) = viewer(&request).filter(|_| app.config.require_mfa).cloned() else {
        return next.run(request).await;
    };
    match lacks_second_factor(&app, &user).await {
        Ok(true) => Redirect::to(&second_confirmation(return_path(&request).as_deref())).into_response(),
        Ok(false) => next.run(request).await,
        Err(error) => Failure::from(error).into_response(),
    }
}

/// Returns whether a user has a second factor that this session wasn't proved with: an authenticator app, or for users who are required to
/// have one, also a passkey.
async fn lacks_second_factor(app: &AppState, user: &Viewer) -> store::Result<bool> {
    if user.is_two_factor {
        return Ok(false);
    }
    let methods = store::account::sign_in_methods(&app.db, user.user_id).await?;
    Ok(methods.has_totp || (app.config.requires_mfa(user.is_admin) && methods.passkeys > 0))
}

/// Returns the page on which a user proves a second factor and then returns to `path`.
fn second_confirmation(path: Option<&str>) -> String {
    let page = with_next("/sign-in/confirm", path);
    let separator = if page.contains('?') { '&' } else { '?' };
    format!("{page}{separator}factor=second")
}

/// Middleware that admits only users whose address is verified: until then anyone may have created the account, and could add a way to sign
/// in to it. Responds to the script of passkeys with JSON.
pub(crate) async fn verified(State(app): State<AppState>, request: Request, next: Next) -> Response {
    if viewer(&request).is_none_or(|viewer| viewer.is_verified) {
        return next.run(request).await;
    }
    let message = "Confirm your email address before you add a sign-in method.";
    let problem = Problem::new(ProblemKind::VerifyEmail, message);
    let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if is_json { Failure(problem).into_response() } else { pages::problem(&app, request, problem).await }
}

/// Middleware that admits only admins and responds with 404 to others. The attempt of a user is recorded as a security event. With
/// `REQUIRE_MFA_FOR_ADMINS` or `REQUIRE_MFA`, admins prove two factors first.
pub(crate) async fn admins(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let current = viewer(&request).cloned();
    if let Some(admin) = current.as_ref().filter(|viewer| viewer.is_admin) {
        return match app.config.requires_mfa(admin.is_admin) {
            true => with_two_factors(&app, admin, request, next).await,
            false => next.run(request).await,
        };
    }
    let user_id = current.map(|viewer| viewer.user_id);
    if let (Some(user_id), Ok(client)) = (user_id, client_info(&app, &request)) {
        activity::record_later(&app, Some(user_id), SecurityEvent::Forbidden, &client);
    }
    pages::problem(&app, request, Problem::not_found("page")).await
}

/// Continues a request if its session was proved with two factors. Otherwise redirects to the page on which the user proves a second factor and then
/// returns, or to the one that adds it.
async fn with_two_factors(app: &AppState, user: &Viewer, request: Request, next: Next) -> Response {
    if user.is_two_factor {
        return next.run(request).await;
    }
    let methods = match store::account::sign_in_methods(&app.db, user.user_id).await {
        Ok(methods) => methods,
        Err(error) => return Failure::from(error).into_response(),
    };
    if !methods.has_totp && methods.passkeys == 0 {
        return Redirect::to("/settings/security?required=mfa").into_response();
    }
    Redirect::to(&second_confirmation(return_path(&request).as_deref())).into_response()
}

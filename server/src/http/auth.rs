//! Handlers of sign-up, sign-in and sign-out: plain forms that respond with 303, or 422 and the form again.

use crate::AppState;
use crate::accounts::rejection::Rejection;
use crate::accounts::session::{self, Factors};
use crate::accounts::sign_in::{self, Completed, Proof};
use crate::accounts::sign_up::{self, SignUp};
use crate::accounts::{activity, confirm, email, second_factor};
use crate::failure::Failure;
use crate::http::account_form::{reject, unreadable};
use crate::http::browser::{self, client_info};
use crate::http::current_user::CurrentUser;
use crate::http::extract::{SignedIn, read_form};
use crate::http::next::{chosen_plan, local, second_factor_page};
use crate::http::pages;
use app::page_context::PageContext;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::SecurityEvent;
use secrecy::SecretString;
use serde::Deserialize;
use tower_sessions::Session;

/// The page to which a sign-in leads if none was requested.
pub(crate) const HOME: &str = "/chat";

/// The fields of the sign-up form. Other fields of the body are ignored (field note 41).
#[derive(Deserialize)]
struct SignUpForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: SecretString,
    #[serde(default)]
    next: String,
    /// The version of the terms that the form's page showed.
    #[serde(default)]
    terms: String,
    #[serde(default, rename = "cf-turnstile-response", alias = "h-captcha-response")]
    captcha: String,
}

#[derive(Deserialize)]
struct SignInForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: SecretString,
    #[serde(default)]
    next: String,
}

/// The form in which the password is entered again, or a code of the authenticator app. Passkeys and other services have routes of their own.
#[derive(Deserialize)]
struct ConfirmForm {
    #[serde(default)]
    password: SecretString,
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
    #[serde(default)]
    factor: String,
}

/// `GET /sign-up` and `GET /sign-in`: the form. A signed-in user is redirected to the page that follows a sign-in.
pub(crate) async fn form_page(
    State(app): State<AppState>,
    CurrentUser(viewer): CurrentUser,
    request: Request,
) -> Response {
    if viewer.is_none() {
        return pages::page(State(app), request).await;
    }
    let query = request.uri().query().map(pages::pairs).unwrap_or_default();
    let next = PageContext { query, ..PageContext::default() }.return_path();
    Redirect::to(next.as_deref().and_then(local).unwrap_or(HOME)).into_response()
}

/// `POST /sign-up`: creates an account and signs in.
pub(crate) async fn sign_up(
    State(app): State<AppState>,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<SignUpForm>(request).await.map_err(unreadable)?;
    let (address, name) = (email::entered(&form.email), form.name.trim());
    let mut client = client_info(&app, &again)?;
    let cookie = browser::remember(&app, &again, &mut client);
    let chosen_plan = chosen_plan(&form.next);
    let new = SignUp {
        email: &address,
        name,
        password: form.password,
        terms: &form.terms,
        captcha: &form.captcha,
        chosen_plan,
    };
    match sign_up::sign_up(&app, &session, &client, new).await {
        Ok(()) => Ok(signed_in(&form.next, cookie)),
        Err(rejection) => {
            let values = vec![("email", address), ("name", name.to_owned()), ("next", form.next)];
            Ok(reject(&app, again, "/sign-up", values, rejection).await)
        }
    }
}

/// `POST /sign-in`: signs in with email and password.
pub(crate) async fn sign_in(
    State(app): State<AppState>,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<SignInForm>(request).await.map_err(unreadable)?;
    let address = email::entered(&form.email);
    let mut client = client_info(&app, &again)?;
    let checked = sign_in::check(&app, &client, &address, form.password).await;
    let cookie = browser::remember(&app, &again, &mut client);
    let completed = match checked {
        Ok(user) => sign_in::complete(&app, &session, &client, &user, Proof::Password).await,
        Err(rejection) => Err(rejection),
    };
    match completed {
        Ok(Completed::SignedIn) => Ok(signed_in(&form.next, cookie)),
        Ok(Completed::SecondFactor) => Ok(Redirect::to(&second_factor_page(&form.next)).into_response()),
        Err(rejection) => {
            let values = vec![("email", address), ("next", form.next)];
            Ok(reject(&app, again, "/sign-in", values, rejection).await)
        }
    }
}

/// Redirects to the page that the visitor requested.
pub(crate) fn signed_in(next: &str, cookie: Option<http::HeaderValue>) -> Response {
    let mut response = Redirect::to(local(next).unwrap_or(HOME)).into_response();
    browser::attach(&mut response, cookie);
    response
}

/// `POST /sign-in/confirm`: proves the identity of a signed-in user again, under a new token.
pub(crate) async fn confirm(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<ConfirmForm>(request).await.map_err(unreadable)?;
    let client = client_info(&app, &again)?;
    let (checked, factors) = match form.code.is_empty() {
        true => (confirm::prove(&app, &client, &viewer, form.password).await, Factors::One),
        // The session was begun with another factor.
        false => (second_factor::check(&app, &client, viewer.user_id, &form.code).await, Factors::Two),
    };
    let confirmed = match checked {
        Ok(()) => session::reauthenticate(&app, &session, viewer.user_id, factors).await.map_err(Rejection::from),
        Err(rejection) => Err(rejection),
    };
    match confirmed {
        Ok(()) => Ok(Redirect::to(local(&form.next).unwrap_or("/settings")).into_response()),
        Err(rejection) => {
            let values = vec![("next", form.next), ("factor", form.factor)];
            Ok(reject(&app, again, "/sign-in/confirm", values, rejection).await)
        }
    }
}

/// `POST /sign-out`: ends the session.
pub(crate) async fn sign_out(
    State(app): State<AppState>,
    CurrentUser(viewer): CurrentUser,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let client = client_info(&app, &request)?;
    session.flush().await?;
    if let Some(viewer) = viewer {
        activity::record(&app, Some(viewer.user_id), SecurityEvent::SignOut, &client).await;
    }
    Ok(signed_out())
}

/// Redirects a user whose session has ended to the landing page. Drafts stored in the tab must not be shown to the next user.
pub(crate) fn signed_out() -> Response {
    ([("clear-site-data", "\"storage\"")], Redirect::to("/")).into_response()
}

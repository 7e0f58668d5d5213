//! Form handlers of `/settings/security`: the password and sessions.

use crate::AppState;
use crate::accounts::{change_password, session, sessions};
use crate::failure::Failure;
use crate::http::account_form::{reject, unreadable};
use crate::http::browser::client_info;
use crate::http::extract::{Id, SignedIn, read_form};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use secrecy::SecretString;
use serde::Deserialize;
use tower_sessions::Session;
use uuid::Uuid;

const PAGE: &str = "/settings/security";

/// The form that changes the password.
#[derive(Deserialize)]
struct PasswordForm {
    #[serde(default)]
    current: SecretString,
    #[serde(default)]
    password: SecretString,
}

/// `POST /settings/password`: sets a new password and ends all other sessions.
pub(crate) async fn password(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<PasswordForm>(request).await.map_err(unreadable)?;
    let client = client_info(&app, &again)?;
    match change_password::change(&app, &session, &client, &viewer, form.current, form.password).await {
        Ok(()) => Ok(Redirect::to("/settings/security?saved=password").into_response()),
        Err(rejection) => Ok(reject(&app, again, PAGE, Vec::new(), rejection).await),
    }
}

/// `POST /settings/sessions/{session_id}/end`: ends one of the user's sessions.
pub(crate) async fn end_session(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(session_id): Id<Uuid>,
    request: Request,
) -> Result<Response, Failure> {
    let client = client_info(&app, &request)?;
    sessions::end(&app, &client, &viewer, session_id).await?;
    Ok(Redirect::to("/settings/security?saved=session").into_response())
}

/// `POST /settings/sessions/end-others`: ends all of the user's sessions except this one.
pub(crate) async fn end_other_sessions(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (client, token_hash) = (client_info(&app, &request)?, session::current_hash(&session).unwrap_or_default());
    sessions::end_others(&app, &client, &viewer, &token_hash).await?;
    Ok(Redirect::to("/settings/security?saved=sessions").into_response())
}

//! Form handlers of the account settings.

use crate::AppState;
use crate::accounts::delete::{self, DeleteOutcome};
use crate::failure::Failure;
use crate::http::extract::SignedIn;
use crate::http::pages;
use app::page_context::FailedForm;
use axum::extract::{FromRequest as _, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Form, Json};
use domain::Problem;
use secrecy::SecretString;
use serde::Deserialize;
use tower_sessions::Session;

/// The account deletion form, confirmed with the password.
#[derive(Deserialize)]
struct DeleteForm {
    #[serde(default)]
    password: SecretString,
}

/// `POST /settings/delete`: deletes the account, its conversations and its subscription. Ledger rows are kept without the user.
pub(crate) async fn delete(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (mut parts, body) = request.into_parts();
    let Form(form) = Form::<DeleteForm>::from_request(Request::from_parts(parts.clone(), body), &())
        .await
        .map_err(|_| Problem::invalid("", "The form couldn't be read. Please submit it again."))?;
    // The form posts to its own URL; the page is rendered as `/settings`.
    parts.uri = http::Uri::from_static("/settings");
    let again = Request::from_parts(parts, axum::body::Body::empty());
    let refuse = |name, sentence: &str| FailedForm { values: Vec::new(), errors: vec![(name, sentence.to_owned())] };
    let failed = match delete::delete(&app, &viewer, form.password).await? {
        DeleteOutcome::Deleted => {
            session.flush().await?;
            return Ok(([("clear-site-data", "\"storage\"")], Redirect::to("/")).into_response());
        }
        DeleteOutcome::WrongPassword => refuse("password", "Incorrect password. Your account was not deleted."),
        DeleteOutcome::LastAdmin => {
            refuse("", "You are the only admin. Make another user an admin first: quotient admin add EMAIL")
        }
    };
    Ok(pages::form_again(&app, again, failed).await)
}

/// The time zone form.
#[derive(Deserialize)]
pub(crate) struct Zone {
    zone: String,
}

/// `POST /settings/time-zone`: sets where the days on the user's pages begin. Sent as JSON by the browser, or as a form by the user.
pub(crate) async fn time_zone(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Failure> {
    let is_json = request.headers().get(http::header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let form = if is_json {
        Json::<Zone>::from_request(request, &()).await.ok().map(|Json(form)| form)
    } else {
        Form::<Zone>::from_request(request, &()).await.ok().map(|Form(form)| form)
    };
    let form = form.ok_or_else(|| Problem::invalid("zone", "The form couldn't be read. Please submit it again."))?;
    let is_name = form.zone.len() <= 64 && form.zone.chars().all(|c| c.is_ascii_alphanumeric() || "/_+-".contains(c));
    // "UTC" means that no time zone was chosen, and the next browser replaces it. A user who chooses it explicitly gets "Etc/UTC".
    let zone = if !is_json && form.zone == "UTC" { "Etc/UTC" } else { &form.zone };
    if !is_name || !store::account::set_time_zone(&app.db, viewer.user_id, zone).await? {
        return Err(Problem::invalid("zone", "Enter a time zone like Europe/Berlin or Asia/Kathmandu.").into());
    }
    Ok(if is_json { http::StatusCode::NO_CONTENT.into_response() } else { Redirect::to("/usage").into_response() })
}

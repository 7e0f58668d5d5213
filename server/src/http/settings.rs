//! Form handlers of the profile.

use crate::AppState;
use crate::accounts::{change_email, email, profile};
use crate::failure::Failure;
use crate::http::account_form::{reject, unreadable};
use crate::http::browser::client_info;
use crate::http::extract::{SignedIn, read_form};
use axum::Json;
use axum::extract::{FromRequest as _, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::Problem;
use http::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;
use tower_sessions::Session;

/// The page of the profile.
const PAGE: &str = "/settings";

/// The display name form.
#[derive(Deserialize)]
struct NameForm {
    #[serde(default)]
    name: String,
}

/// `POST /settings/name`: sets the display name.
pub(crate) async fn name(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<NameForm>(request).await.map_err(unreadable)?;
    let name = form.name.trim().to_owned();
    match profile::set_name(&app, &viewer, &name).await {
        Ok(()) => Ok(Redirect::to("/settings?saved=name").into_response()),
        Err(rejection) => Ok(reject(&app, again, PAGE, vec![("name", name)], rejection).await),
    }
}

/// The form that changes the address, confirmed with the password.
#[derive(Deserialize)]
struct EmailForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: SecretString,
}

/// `POST /settings/email`: sends a link to a new address.
pub(crate) async fn change_email(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<EmailForm>(request).await.map_err(unreadable)?;
    let address = email::entered(&form.email);
    let client = client_info(&app, &again)?;
    match change_email::request(&app, &session, &client, &viewer, &address, form.password).await {
        Ok(()) => Ok(Redirect::to("/settings?saved=email").into_response()),
        Err(rejection) => Ok(reject(&app, again, PAGE, vec![("email", address)], rejection).await),
    }
}

/// The time zone form.
#[derive(Deserialize)]
struct ZoneForm {
    #[serde(default)]
    zone: String,
}

/// `POST /settings/time-zone`: sets where the days on the user's pages begin. Sent as JSON by the browser, or as a form by the user.
pub(crate) async fn time_zone(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Failure> {
    let is_json = request.headers().get(http::header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if is_json {
        let form = Json::<ZoneForm>::from_request(request, &()).await;
        let Json(form) = form.map_err(|_| Problem::invalid("zone", "The body couldn't be read."))?;
        return match profile::set_browser_time_zone(&app, &viewer, &form.zone).await {
            Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
            Err(rejection) => Err(rejection.into()),
        };
    }
    let (form, again) = read_form::<ZoneForm>(request).await.map_err(unreadable)?;
    match profile::set_time_zone(&app, &viewer, &form.zone).await {
        Ok(()) => Ok(Redirect::to("/settings?saved=zone").into_response()),
        Err(rejection) => Ok(reject(&app, again, PAGE, vec![("zone", form.zone)], rejection).await),
    }
}

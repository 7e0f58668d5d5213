//! Handlers of passkeys: ceremonies, which `public/passkey.js` calls with JSON, and the forms of their list.

use crate::AppState;
use crate::accounts::passkeys::{self, Begun, Finish};
use crate::accounts::sign_in::Completed;
use crate::failure::Failure;
use crate::http::account_form::{reject, unreadable};
use crate::http::auth::HOME;
use crate::http::browser::{self, client_info};
use crate::http::extract::{Id, SignedIn, read_form};
use crate::http::next::{local, second_factor_page};
use axum::Json;
use axum::extract::{FromRequest as _, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::Problem;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tower_sessions::Session;
use uuid::Uuid;
use webauthn_rs::prelude::{PublicKeyCredential, RegisterPublicKeyCredential};

/// The page of the list.
const PAGE: &str = "/settings/security";

/// The end of a ceremony, with the fields of its page: the path to go to next, or the name of a new passkey.
#[derive(Deserialize)]
struct FinishBody<T> {
    #[serde(flatten)]
    finish: Finish<T>,
    #[serde(default)]
    next: String,
    #[serde(default)]
    name: String,
}

/// The form that renames a passkey.
#[derive(Deserialize)]
struct NameForm {
    #[serde(default)]
    name: String,
}

async fn read_body<T: DeserializeOwned>(request: Request) -> Result<FinishBody<T>, Failure> {
    let body = Json::<FinishBody<T>>::from_request(request, &()).await;
    let Json(body) = body.map_err(|_| Problem::invalid("", "The response of the passkey couldn't be read."))?;
    Ok(body)
}

/// Responds with the page that the browser opens next.
fn leads_to(path: &str) -> Response {
    Json(json!({ "next": path })).into_response()
}

/// `POST /sign-in/passkey/begin`: begins to sign in.
pub(crate) async fn begin_sign_in(State(app): State<AppState>, request: Request) -> Result<Json<Begun>, Failure> {
    let client = client_info(&app, &request)?;
    Ok(Json(passkeys::begin_sign_in(&app, &client).await?))
}

/// `POST /sign-in/passkey/finish`: signs in.
pub(crate) async fn finish_sign_in(
    State(app): State<AppState>,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let mut client = client_info(&app, &request)?;
    let cookie = browser::remember(&app, &request, &mut client);
    let body = read_body::<PublicKeyCredential>(request).await?;
    match passkeys::finish_sign_in(&app, &session, &client, body.finish).await? {
        Completed::SignedIn => {
            let mut response = leads_to(local(&body.next).unwrap_or(HOME));
            browser::attach(&mut response, cookie);
            Ok(response)
        }
        Completed::SecondFactor => Ok(leads_to(&second_factor_page(&body.next))),
    }
}

/// `POST /sign-in/confirm/passkey/begin`: begins to confirm the viewer's identity.
pub(crate) async fn begin_confirmation(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Json<Begun>, Failure> {
    let client = client_info(&app, &request)?;
    Ok(Json(passkeys::begin_confirmation(&app, &client, &viewer).await?))
}

/// `POST /sign-in/confirm/passkey/finish`: confirms the viewer's identity, under a new token.
pub(crate) async fn finish_confirmation(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let client = client_info(&app, &request)?;
    let body = read_body::<PublicKeyCredential>(request).await?;
    passkeys::finish_confirmation(&app, &session, &client, &viewer, body.finish).await?;
    Ok(leads_to(local(&body.next).unwrap_or("/settings")))
}

/// `POST /settings/passkeys/begin`: begins to add a passkey.
pub(crate) async fn begin_registration(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Json<Begun>, Failure> {
    let client = client_info(&app, &request)?;
    Ok(Json(passkeys::begin_registration(&app, &client, &viewer).await?))
}

/// `POST /settings/passkeys/finish`: adds a passkey.
pub(crate) async fn finish_registration(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let client = client_info(&app, &request)?;
    let body = read_body::<RegisterPublicKeyCredential>(request).await?;
    passkeys::finish_registration(&app, &session, &client, &viewer, &body.name, body.finish).await?;
    Ok(leads_to("/settings/security?saved=passkey"))
}

/// `POST /settings/passkeys/{passkey_id}/rename`: renames a passkey.
pub(crate) async fn rename(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(passkey_id): Id<Uuid>,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<NameForm>(request).await.map_err(unreadable)?;
    match passkeys::rename(&app, &viewer, passkey_id, &form.name).await {
        Ok(()) => Ok(Redirect::to("/settings/security?saved=passkey-name").into_response()),
        Err(rejection) => Ok(reject(&app, again, PAGE, Vec::new(), rejection).await),
    }
}

/// `POST /settings/passkeys/{passkey_id}/remove`: removes a passkey.
pub(crate) async fn remove(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    Id(passkey_id): Id<Uuid>,
    request: Request,
) -> Result<Response, Failure> {
    let client = client_info(&app, &request)?;
    match passkeys::remove(&app, &session, &client, &viewer, passkey_id).await {
        Ok(()) => Ok(Redirect::to("/settings/security?saved=passkey-removed").into_response()),
        Err(rejection) => Ok(reject(&app, request, PAGE, Vec::new(), rejection).await),
    }
}

//! Form handlers of the authenticator app, the recovery codes, and the removal of the password.

use crate::AppState;
use crate::accounts::rejection::Rejection;
use crate::accounts::{change_password, recovery, totp};
use crate::failure::Failure;
use crate::http::account_form::{reject, unreadable};
use crate::http::browser::client_info;
use crate::http::extract::{SignedIn, read_form};
use crate::http::pages;
use app::page_context::FailedForm;
use app::view::factors::FactorResult;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use secrecy::SecretString;
use serde::Deserialize;
use tower_sessions::Session;

/// The page of all factors.
const PAGE: &str = "/settings/security";
/// The page that sets up an authenticator app.
const TOTP: &str = "/settings/security/totp";
/// The page of the recovery codes.
const RECOVERY: &str = "/settings/security/recovery";

/// The form with the app's first code.
#[derive(Deserialize)]
struct CodeForm {
    #[serde(default)]
    code: String,
}

/// `GET /settings/security/totp`: the secret for an authenticator app, as a text and a QR code.
pub(crate) async fn totp_page(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    match totp::begin(&app, &session, &viewer).await? {
        Some(setup) => {
            let result = FactorResult::Totp(setup);
            Ok(pages::factor_result(&app, request, TOTP, FailedForm::default(), result).await)
        }
        None => Ok(Redirect::to(PAGE).into_response()),
    }
}

/// `POST /settings/security/totp`: confirms the app by its first code, and shows the recovery codes.
pub(crate) async fn confirm_totp(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<CodeForm>(request).await.map_err(unreadable)?;
    let client = client_info(&app, &again)?;
    match totp::confirm(&app, &session, &client, &viewer, &form.code).await {
        Ok(codes) => {
            let result = FactorResult::RecoveryCodes(codes);
            Ok(pages::factor_result(&app, again, RECOVERY, FailedForm::default(), result).await)
        }
        Err(Rejection::Invalid(errors)) => match totp::begin(&app, &session, &viewer).await? {
            Some(setup) => {
                let form = FailedForm { values: Vec::new(), errors };
                Ok(pages::factor_result(&app, again, TOTP, form, FactorResult::Totp(setup)).await)
            }
            None => Ok(Redirect::to(PAGE).into_response()),
        },
        Err(refused) => Ok(reject(&app, again, PAGE, Vec::new(), refused).await),
    }
}

/// `POST /settings/security/totp/remove`: removes the authenticator app and the recovery codes.
pub(crate) async fn remove_totp(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let client = client_info(&app, &request)?;
    match totp::remove(&app, &session, &client, &viewer).await {
        Ok(()) => Ok(Redirect::to("/settings/security?saved=totp-removed").into_response()),
        Err(failure) => Ok(reject(&app, request, PAGE, Vec::new(), failure.into()).await),
    }
}

/// `POST /settings/security/recovery`: creates new recovery codes and shows them.
pub(crate) async fn regenerate(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let client = client_info(&app, &request)?;
    match recovery::regenerate(&app, &session, &client, &viewer).await {
        Ok(codes) => {
            let result = FactorResult::RecoveryCodes(codes);
            Ok(pages::factor_result(&app, request, RECOVERY, FailedForm::default(), result).await)
        }
        Err(rejection) => Ok(reject(&app, request, PAGE, Vec::new(), rejection).await),
    }
}

/// The form that removes the password. The name of its field differs from those of the form that changes the password.
#[derive(Deserialize)]
struct RemovePasswordForm {
    #[serde(default)]
    password_to_remove: SecretString,
}

/// `POST /settings/password/remove`: removes the password of a user with another way to sign in.
pub(crate) async fn remove_password(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<RemovePasswordForm>(request).await.map_err(unreadable)?;
    let client = client_info(&app, &again)?;
    match change_password::remove(&app, &session, &client, &viewer, form.password_to_remove).await {
        Ok(()) => Ok(Redirect::to("/settings/security?saved=password-removed").into_response()),
        Err(rejection) => Ok(reject(&app, again, PAGE, Vec::new(), rejection).await),
    }
}

//! Handlers for a forgotten password.

use crate::AppState;
use crate::accounts::rejection::Rejection;
use crate::accounts::sign_in::Completed;
use crate::accounts::{change_password, email};
use crate::failure::Failure;
use crate::http::account_form::{reject, unreadable};
use crate::http::browser::{self, client_info};
use crate::http::extract::read_form;
use crate::http::next::second_factor_page;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use secrecy::SecretString;
use serde::Deserialize;
use tower_sessions::Session;

/// The form that requests a link.
#[derive(Deserialize)]
struct ForgotForm {
    #[serde(default)]
    email: String,
    #[serde(default, rename = "cf-turnstile-response", alias = "h-captcha-response")]
    captcha: String,
}

/// `POST /forgot`: sends a link to set a new password. The response is the same whether or not the address has an account.
pub(crate) async fn forgot(State(app): State<AppState>, request: Request) -> Result<Response, Failure> {
    let (form, again) = read_form::<ForgotForm>(request).await.map_err(unreadable)?;
    let address = email::entered(&form.email);
    let client = client_info(&app, &again)?;
    match change_password::forgot(&app, &client, &address, &form.captcha).await {
        Ok(()) => Ok(Redirect::to("/forgot?sent=yes").into_response()),
        Err(rejection) => Ok(reject(&app, again, "/forgot", vec![("email", address)], rejection).await),
    }
}

/// The form that sets a new password by a link.
#[derive(Deserialize)]
struct ResetForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    password: SecretString,
}

/// `POST /reset`: sets a new password, ends all other sessions and signs in, or requests the second factor first.
pub(crate) async fn reset(
    State(app): State<AppState>,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<ResetForm>(request).await.map_err(unreadable)?;
    let mut client = client_info(&app, &again)?;
    let cookie = browser::remember(&app, &again, &mut client);
    match change_password::reset(&app, &session, &client, &form.token, form.password).await {
        Ok(Completed::SecondFactor) => Ok(Redirect::to(&second_factor_page("")).into_response()),
        Ok(Completed::SignedIn) => {
            let mut response = Redirect::to("/chat").into_response();
            browser::attach(&mut response, cookie);
            Ok(response)
        }
        Err(rejection) => {
            // A link that doesn't work isn't offered again.
            let values = match &rejection {
                Rejection::Invalid(errors) if errors.iter().any(|(field, _)| field.is_empty()) => Vec::new(),
                _ => vec![("token", form.token)],
            };
            Ok(reject(&app, again, "/reset", values, rejection).await)
        }
    }
}

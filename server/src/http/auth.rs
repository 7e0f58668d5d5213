//! Handlers of sign-up, sign-in and sign-out: plain forms that respond with 303, or 422 and the form again.

use crate::AppState;
use crate::accounts::attempts::{self, Attempt};
use crate::accounts::password;
use crate::accounts::session::USER;
use crate::accounts::sign_up::{self, SignUp, SignUpOutcome};
use crate::failure::Failure;
use crate::http::extract::read_form;
use crate::http::origin::request_origin;
use crate::http::pages;
use app::page_context::FailedForm;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::{Problem, UserId};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tower_sessions::Session;

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

fn unreadable(_: Request) -> Problem {
    Problem::invalid("", "The form couldn't be read. Please submit it again.")
}

/// `POST /sign-up`: creates an account and signs in.
pub(crate) async fn sign_up(
    State(app): State<AppState>,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<SignUpForm>(request).await.map_err(unreadable)?;
    let (address, name) = (form.email.trim(), form.name.trim());
    let values = vec![("email", address.to_owned()), ("name", name.to_owned()), ("next", form.next.clone())];
    let new = SignUp { email: address, name, password: form.password };
    let origin = request_origin(&app, &again)?;
    match sign_up::sign_up(&app, &origin, new).await? {
        SignUpOutcome::Created(user_id) => {
            begin(&session, user_id).await?;
            Ok(Redirect::to(local(&form.next).unwrap_or("/chat")).into_response())
        }
        SignUpOutcome::Invalid(errors) => Ok(pages::form_again(&app, again, FailedForm { values, errors }).await),
        SignUpOutcome::Refused(refused) => Ok(pages::form_refused(&app, again, values, refused).await),
    }
}

/// `POST /sign-in`: signs in with email and password.
pub(crate) async fn sign_in(
    State(app): State<AppState>,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<SignInForm>(request).await.map_err(unreadable)?;
    // Postgres stores no NUL, so no account has an email with one.
    let address = form.email.replace('\0', "");
    let subject = app.subject(address.trim())?;
    let origin = request_origin(&app, &again)?;
    if let Err(refused) = attempts::count_attempt(&app, &origin, Attempt::SignIn(&subject)).await {
        let values = vec![("email", form.email.trim().to_owned()), ("next", form.next)];
        return Ok(pages::form_refused(&app, again, values, refused).await);
    }
    let found = store::account::credentials(&app.db, address.trim()).await?;
    let (user_id, hash) = found.map_or((None, None), |found| (Some(found.user_id), Some(found.password_hash)));
    // A password that is too long is wrong as well, and is not hashed.
    let fits = form.password.expose_secret().len() <= password::MAX_BYTES;
    let is_right = app.passwords.is_right(form.password.clone(), hash.filter(|_| fits)).await?;
    match user_id.filter(|_| is_right) {
        Some(user_id) => {
            begin(&session, user_id).await?;
            Ok(Redirect::to(local(&form.next).unwrap_or("/chat")).into_response())
        }
        None => {
            let values = vec![("email", form.email.trim().to_owned()), ("next", form.next)];
            let errors = vec![("", "Incorrect email or password.".to_owned())];
            Ok(pages::form_again(&app, again, FailedForm { values, errors }).await)
        }
    }
}

/// `POST /sign-out`: ends the session.
pub(crate) async fn sign_out(session: Session) -> Result<Response, Failure> {
    session.flush().await?;
    // Drafts stored in the tab must not be shown to the next user.
    Ok(([("clear-site-data", "\"storage\"")], Redirect::to("/")).into_response())
}

/// Starts a session under a new token, so that a token planted before the sign-in is useless.
async fn begin(session: &Session, user_id: UserId) -> Result<(), Failure> {
    session.cycle_id().await?;
    session.insert(USER, user_id).await?;
    Ok(())
}

/// Returns the path if it is on this site and no browser would treat it as another site's.
fn local(next: &str) -> Option<&str> {
    let is_local =
        next.starts_with('/') && !next.starts_with("//") && !next.contains('\\') && !next.chars().any(char::is_control);
    is_local.then_some(next)
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn only_local_paths_are_redirected_to() {
        assert_eq!(local("/usage?days=7"), Some("/usage?days=7"));
        for bad in ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\nb", "javascript:alert(1)"] {
            assert_eq!(local(bad), None, "{bad}");
        }
    }
}

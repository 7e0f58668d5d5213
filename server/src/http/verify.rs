//! Handlers of the links and codes that prove an address: verification, and undoing a change of address.

use crate::AppState;
use crate::accounts::{change_email, verify};
use crate::failure::Failure;
use crate::http::account_form::{reject, unreadable};
use crate::http::browser::client_info;
use crate::http::current_user::CurrentUser;
use crate::http::extract::{SignedIn, read_form};
use crate::http::next::{chosen_plan, local, with_next};
use crate::http::pages;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

/// The page that confirms an address. Once the address is verified, it shows that.
const PAGE: &str = "/verify";

/// The form: the token of a link, or a code, and the path that it leads on to.
#[derive(Deserialize)]
struct VerifyForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

/// `POST /verify`: verifies an address by a link, in any browser, or by a code, in one that is signed in.
pub(crate) async fn verify(
    State(app): State<AppState>,
    CurrentUser(viewer): CurrentUser,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<VerifyForm>(request).await.map_err(unreadable)?;
    let client = client_info(&app, &again)?;
    let is_signed_in = viewer.is_some();
    let verified = viewer.as_ref().filter(|viewer| viewer.is_verified).map(|viewer| viewer.email.clone());
    let done = match (form.token.is_empty(), viewer) {
        (false, viewer) => verify::by_link(&app, &client, viewer.as_ref(), &form.token).await,
        (true, Some(_)) if verified.is_some() => Ok(()),
        (true, Some(viewer)) => verify::by_code(&app, &client, &viewer, &form.code).await,
        // The session may have ended when the link was opened elsewhere.
        (true, None) => {
            let page = with_next(PAGE, local(&form.next));
            return Ok(Redirect::to(&with_next("/sign-in", Some(&page))).into_response());
        }
    };
    match (done, verified) {
        (Ok(()), _) => Ok(Redirect::to(&page_after(&form.next, is_signed_in)).into_response()),
        (Err(rejection), None) => {
            let values = vec![("code", form.code), ("next", form.next)];
            Ok(reject(&app, again, PAGE, values, rejection).await)
        }
        // The page itself would show only that the address is confirmed, not the rejection.
        (Err(rejection), Some(email)) => {
            let Failure(mut problem) = rejection.into();
            problem.message = format!("{} Your confirmed email address is {email}.", problem.message);
            Ok(pages::problem(&app, again, problem).await)
        }
    }
}

/// Returns the page to show after a verification: the path `next`, after signing in, or the confirmation.
fn page_after(next: &str, is_signed_in: bool) -> String {
    match (local(next), is_signed_in) {
        (Some(next), true) => next.to_owned(),
        (Some(next), false) => format!("{}&confirmed=yes", with_next(PAGE, Some(next))),
        (None, _) => format!("{PAGE}?confirmed=yes"),
    }
}

/// The form that requests another mail.
#[derive(Deserialize)]
struct ResendForm {
    #[serde(default)]
    next: String,
}

/// `POST /verify/resend`: sends another link and code.
pub(crate) async fn resend(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<ResendForm>(request).await.map_err(unreadable)?;
    let client = client_info(&app, &again)?;
    let plan = chosen_plan(&form.next);
    match verify::resend(&app, &client, &viewer, plan).await {
        Ok(()) => {
            let page = plan
                .map_or_else(|| format!("{PAGE}?sent=yes"), |plan| format!("{}&sent=yes", with_next(PAGE, Some(plan))));
            Ok(Redirect::to(&page).into_response())
        }
        Err(rejection) => Ok(reject(&app, again, PAGE, vec![("next", form.next)], rejection).await),
    }
}

/// The form that undoes a change of address.
#[derive(Deserialize)]
struct UndoForm {
    #[serde(default)]
    token: String,
}

/// `POST /email/undo`: gives an account its previous address back. Then the user sets a new password.
pub(crate) async fn undo_email(State(app): State<AppState>, request: Request) -> Result<Response, Failure> {
    let (form, again) = read_form::<UndoForm>(request).await.map_err(unreadable)?;
    let client = client_info(&app, &again)?;
    match change_email::undo(&app, &client, &form.token).await {
        Ok(()) => Ok(Redirect::to("/forgot").into_response()),
        Err(rejection) => Ok(reject(&app, again, "/email/undo", Vec::new(), rejection).await),
    }
}

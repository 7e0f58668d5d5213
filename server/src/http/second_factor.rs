//! Handlers of `/sign-in/second`, which requests the second factor.

use crate::AppState;
use crate::accounts::{second_factor, sign_in};
use crate::failure::Failure;
use crate::http::account_form::{reject, unreadable};
use crate::http::auth::signed_in;
use crate::http::browser::{self, client_info};
use crate::http::extract::read_form;
use crate::http::next::with_next;
use crate::http::pages;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tower_sessions::Session;

/// The page.
const PAGE: &str = "/sign-in/second";

/// The query of the page.
#[derive(Deserialize)]
pub(crate) struct Way {
    #[serde(default)]
    next: String,
}

/// The form with the code.
#[derive(Deserialize)]
struct CodeForm {
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

/// Redirects to the sign-in page if the session doesn't wait for a second factor, or no longer does.
fn again(next: &str) -> Response {
    Redirect::to(&with_next("/sign-in", Some(next).filter(|next| !next.is_empty()))).into_response()
}

/// `GET /sign-in/second`: the form.
pub(crate) async fn show(
    State(app): State<AppState>,
    session: Session,
    Query(way): Query<Way>,
    request: Request,
) -> Result<Response, Failure> {
    let is_waiting = second_factor::pending(&app, &session).await?.is_some();
    if is_waiting { Ok(pages::page(State(app), request).await) } else { Ok(again(&way.next)) }
}

/// `POST /sign-in/second`: signs in with a code of the authenticator app, or a recovery code.
pub(crate) async fn submit(
    State(app): State<AppState>,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (form, request) = read_form::<CodeForm>(request).await.map_err(unreadable)?;
    let Some(user) = second_factor::pending(&app, &session).await? else { return Ok(again("")) };
    let mut client = client_info(&app, &request)?;
    let checked = second_factor::check(&app, &client, user.user_id, &form.code).await;
    let cookie = browser::remember(&app, &request, &mut client);
    let completed = match checked {
        Ok(()) => sign_in::complete_pending(&app, &session, &client, &user).await,
        Err(rejection) => Err(rejection),
    };
    match completed {
        Ok(()) => Ok(signed_in(&form.next, cookie)),
        Err(rejection) => Ok(reject(&app, request, PAGE, vec![("next", form.next)], rejection).await),
    }
}

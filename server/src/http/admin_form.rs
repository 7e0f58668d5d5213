//! Forms of the admin pages.

use crate::AppState;
use crate::failure::Failure;
use crate::http::extract::{SignedIn, read_form};
use crate::http::pages;
use app::page_context::FailedForm;
use axum::extract::{FromRequest, FromRequestParts as _, Request};
use axum::response::{IntoResponse, Redirect, Response};
use domain::{Problem, ProblemKind, Viewer};
use serde::de::DeserializeOwned;

/// Extracts a form, the admin who sent it, and the request without its body. Responds with a page that shows the problem if the form can't
/// be parsed. The router lets only admins through.
pub(crate) struct AdminForm<T> {
    pub admin: Viewer,
    pub form: T,
    pub request: Request,
}

impl<T: DeserializeOwned + Send> FromRequest<AppState> for AdminForm<T> {
    type Rejection = Response;
    async fn from_request(request: Request, app: &AppState) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let SignedIn(admin) =
            SignedIn::from_request_parts(&mut parts, app).await.map_err(IntoResponse::into_response)?;
        match read_form::<T>(Request::from_parts(parts, body)).await {
            Ok((form, request)) => Ok(Self { admin, form, request }),
            Err(request) => {
                let problem = Problem::invalid("", "The form data is invalid. Reload the page and try again.");
                Err(pages::problem(app, request, problem).await)
            }
        }
    }
}

/// Redirects to a page once an action is done. Renders that page with the reason if the form was invalid, or a page with another problem.
pub(crate) async fn answer(app: &AppState, request: Request, done: Result<(), Failure>, to: &str) -> Response {
    answer_keeping(app, request, done, to, Vec::new()).await
}

/// As [`answer`], for a form whose page shows what was typed if it was invalid.
pub(crate) async fn answer_keeping(
    app: &AppState,
    mut request: Request,
    done: Result<(), Failure>,
    to: &str,
    values: Vec<(&'static str, String)>,
) -> Response {
    let problem = match done {
        Ok(()) => return Redirect::to(to).into_response(),
        Err(Failure(problem)) => problem,
    };
    let path = to.split('?').next().unwrap_or_default();
    match path.parse() {
        Ok(path) if problem.kind == ProblemKind::Invalid => {
            *request.uri_mut() = path;
            let form = FailedForm { values, errors: vec![("", problem.message)] };
            pages::form_again(app, request, form).await
        }
        _ => pages::problem(app, request, problem).await,
    }
}

/// Returns the values of a form's known fields, with the row of its page in which they are shown again.
pub(crate) fn in_row(row: &str, fields: &[&'static str], pairs: &[(String, String)]) -> Vec<(&'static str, String)> {
    let known = |(name, value): &(String, String)| {
        fields.iter().find(|field| **field == name.as_str()).map(|field| (*field, value.clone()))
    };
    std::iter::once(("row", row.to_owned())).chain(pairs.iter().filter_map(known)).collect()
}

/// Parses a limit from a form field.
pub(crate) fn limit(field: &str, text: &str) -> Result<i64, Problem> {
    let n = text.parse().ok().filter(|n| (1..=1_000_000_000_000).contains(n));
    n.ok_or_else(|| Problem::invalid(field, "Enter a whole number above zero. No changes were saved."))
}

/// Parses an optional form field; an empty one is `None`.
pub(crate) fn optional<T>(
    field: &str,
    text: &str,
    message: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    match text.trim() {
        "" => Ok(None),
        text => parse(text).map(Some).ok_or_else(|| Problem::invalid(field, message)),
    }
}

/// The longest timeout that can be set, in milliseconds.
const TIMEOUT_MAX_MS: u32 = 3_600_000;
/// What to enter as a timeout.
pub(crate) const TIMEOUT_MESSAGE: &str = "Enter 1 to 3600000 milliseconds, or leave it empty. No changes were saved.";

/// Parses a timeout in milliseconds.
pub(crate) fn timeout_ms(text: &str) -> Option<u32> {
    text.parse().ok().filter(|ms| (1..=TIMEOUT_MAX_MS).contains(ms))
}

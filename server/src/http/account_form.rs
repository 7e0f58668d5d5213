//! Forms of the account pages: rejected ones are shown again on their page, with what was entered.

use crate::AppState;
use crate::accounts::rejection::Rejection;
use crate::http::current_user::CurrentUser;
use crate::http::pages;
use app::page_context::FailedForm;
use axum::extract::Request;
use axum::response::Response;
use domain::{Problem, ProblemKind};
use http::Uri;

/// The problem of a body that is no form.
pub(crate) fn unreadable(_: Request) -> Problem {
    Problem::invalid("", "The form couldn't be read. Please submit it again.")
}

/// Renders a form's page again: with 422 and the errors, or with the reason it was refused and when to try again. `page` is the path of the
/// page that has the form.
pub(crate) async fn reject(
    app: &AppState,
    mut request: Request,
    page: &'static str,
    values: Vec<(&'static str, String)>,
    rejection: Rejection,
) -> Response {
    *request.uri_mut() = Uri::from_static(page);
    match rejection {
        Rejection::Invalid(errors) => pages::form_again(app, request, FailedForm { values, errors }).await,
        Rejection::Refused(failure) => {
            // The session has ended since the request began, so the page is rendered as for a visitor.
            if failure.0.kind == ProblemKind::SignInRequired {
                request.extensions_mut().insert(CurrentUser(None));
            }
            pages::form_refused(app, request, values, failure).await
        }
    }
}

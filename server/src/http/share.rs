//! Read-only links: created and revoked by their user, opened by anyone who has one.

use crate::AppState;
use crate::failure::Failure;
use crate::http::account_form::unreadable;
use crate::http::current_user::CurrentUser;
use crate::http::extract::{Id, SignedIn, read_form};
use crate::http::pages;
use crate::share::{self, Lifetime};
use app::page_context::FailedForm;
use app::view::provider::FormResult;
use axum::Json;
use axum::extract::{FromRequest as _, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::{ConversationId, Problem, ProblemKind, ShareId};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;

/// The page with a user's links.
const PAGE: &str = "/settings/shares";

/// The form that creates a link.
#[derive(Default, Deserialize)]
struct ShareForm {
    #[serde(default)]
    expires: String,
}

fn is_json(request: &Request) -> bool {
    request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json")
}

/// `POST /chat/{conversation_id}/share`: creates a link to a copy of a conversation. Sent as JSON by the browser, or as a form, whose response
/// is the page with the link. The link is shown this once.
pub(crate) async fn create(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(conversation): Id<ConversationId>,
    request: Request,
) -> Result<Response, Failure> {
    let invalid = || Problem::invalid("expires", "Choose when the link expires.");
    if is_json(&request) {
        let form = Json::<ShareForm>::from_request(request, &()).await;
        let Json(form) = form.map_err(|_| Problem::invalid("expires", "The body couldn't be read."))?;
        let lifetime = Lifetime::parse(&form.expires).ok_or_else(invalid)?;
        return Ok(Json(share::create(&app, &viewer, conversation, lifetime).await?).into_response());
    }
    let (form, again) = read_form::<ShareForm>(request).await.map_err(unreadable)?;
    let created = match Lifetime::parse(&form.expires) {
        Some(lifetime) => share::create(&app, &viewer, conversation, lifetime).await,
        None => Err(invalid().into()),
    };
    match created {
        Ok(created) => Ok(pages::form_result(&app, again, PAGE, FormResult::Share(created)).await),
        Err(Failure(problem)) if matches!(problem.kind, ProblemKind::Invalid | ProblemKind::TooLarge) => {
            let form = FailedForm { values: Vec::new(), errors: vec![("", problem.message)] };
            Ok(pages::form_again_at(&app, again, PAGE, form).await)
        }
        Err(Failure(problem)) => Ok(pages::problem(&app, again, problem).await),
    }
}

/// `POST /settings/shares/{share_id}/revoke`: deletes a link and its copy.
pub(crate) async fn revoke(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<ShareId>,
    request: Request,
) -> Result<Response, Failure> {
    if !store::share::revoke(&app.db, viewer.user_id, id).await? {
        return Err(Problem::not_found("link").into());
    }
    Ok(match is_json(&request) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => Redirect::to("/settings/shares?saved=revoked").into_response(),
    })
}

/// `GET /share/{token}`: shows the copy of a link. The page is the same for everyone and contains nothing of the reader's session.
pub(crate) async fn show(State(app): State<AppState>, Id(token): Id<String>, mut request: Request) -> Response {
    request.extensions_mut().insert(CurrentUser(None));
    let mut response = match share::open(&app, &token).await {
        Ok(view) => pages::shared(&app, request, view).await,
        Err(Failure(problem)) => pages::problem(&app, request, problem).await,
    };
    response.headers_mut().insert("x-robots-tag", HeaderValue::from_static("noindex, nofollow, noarchive"));
    response
}

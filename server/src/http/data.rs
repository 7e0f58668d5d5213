//! Exports of all data and of conversations, and the deletion of the account.

use crate::AppState;
use crate::accounts::attempts::{self, Attempt};
use crate::accounts::delete::{self as deletion, Deleted};
use crate::accounts::export::{self, Format};
use crate::accounts::rejection::Rejection;
use crate::failure::Failure;
use crate::http::account_form::{reject, unreadable};
use crate::http::auth::signed_out;
use crate::http::browser::client_info;
use crate::http::extract::{Id, SignedIn, read_form};
use crate::http::next::with_next;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::{ConversationId, Problem, Viewer};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use secrecy::SecretString;
use serde::Deserialize;
use tower_sessions::Session;

const PAGE: &str = "/settings/data";

/// `POST /settings/data/export`: everything that belongs to the user, as a ZIP. A form, so that a link can't start it.
pub(crate) async fn export_all(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Failure> {
    archive(&app, &viewer, request, "data", || Body::from_stream(export::stream(&app, &viewer))).await
}

/// `POST /settings/data/conversations.zip`: all conversations of the user, as a ZIP. A form, so that a link can't start it.
pub(crate) async fn export_conversations(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Failure> {
    archive(&app, &viewer, request, "conversations", || Body::from_stream(export::conversations(&app, &viewer))).await
}

/// Sends a ZIP, unless the user has started too many exports.
async fn archive(
    app: &AppState,
    viewer: &Viewer,
    request: Request,
    name: &str,
    files: impl FnOnce() -> Body + Send,
) -> Result<Response, Failure> {
    let client = client_info(app, &request)?;
    let attempt = Attempt::Export { user_id: viewer.user_id };
    if let Err(refused) = attempts::count_attempt(app, &client.origin, attempt).await {
        return Ok(reject(app, request, PAGE, Vec::new(), Rejection::Refused(refused)).await);
    }
    let headers = [
        (CONTENT_TYPE, "application/zip".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}-{}.zip\"", AppState::now().date())),
    ];
    Ok((headers, files()).into_response())
}

/// The format of an exported conversation.
#[derive(Deserialize)]
pub(crate) struct ExportQuery {
    #[serde(default)]
    format: String,
}

/// `GET /chat/{conversation_id}/export`: one conversation, as `format=md` or `format=json`.
pub(crate) async fn export_conversation(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<ConversationId>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Failure> {
    let found = store::export::conversation(&app.db, viewer.user_id, id).await?;
    let found = found.ok_or_else(|| Problem::not_found("conversation"))?;
    let invalid = || Problem::invalid("format", "`format` must be `md` or `json`.");
    let format = Format::parse(&query.format).ok_or_else(invalid)?;
    let headers = [
        (CONTENT_TYPE, format.media_type().to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", export::download_name(&found.title, format))),
    ];
    Ok((headers, Body::from_stream(export::conversation(&app, &viewer, found, format))).into_response())
}

/// The account deletion form, confirmed with the password if the account has one.
#[derive(Deserialize)]
struct DeleteForm {
    #[serde(default)]
    password: SecretString,
}

/// `POST /settings/delete`: deletes the account, its conversations and its subscriptions. Ledger rows are kept without the user.
pub(crate) async fn delete(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<DeleteForm>(request).await.map_err(unreadable)?;
    let client = client_info(&app, &again)?;
    match deletion::delete(&app, &session, &client, &viewer, form.password).await {
        Ok(Deleted::Yes) => {
            session.flush().await?;
            Ok(signed_out())
        }
        Ok(Deleted::MustConfirm) => Ok(Redirect::to(&with_next("/sign-in/confirm", Some(PAGE))).into_response()),
        Err(rejection) => Ok(reject(&app, again, PAGE, Vec::new(), rejection).await),
    }
}

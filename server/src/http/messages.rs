//! The messages of a conversation as a part of its page, which the browser adds to the page: earlier ones, or the latest after a gap. And
//! which of its branches the page shows.

use crate::AppState;
use crate::failure::Failure;
use crate::http::extract::{Id, SignedIn};
use crate::http::fragment::{fragment, parameter};
use app::api::Refusal;
use app::api::context;
use app::pages::chat::Messages;
use app::view::conversation::MessagesView;
use axum::extract::FromRequest as _;
use axum::extract::{Query, Request, State};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::{Form, Json};
use domain::{ConversationId, MessageId, ModelName, Problem, TurnId};
use http::header;
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// Which messages are requested; without a message, the latest of the visible path.
#[derive(Deserialize)]
pub(crate) struct MessagesQuery {
    /// The message before which they are.
    before: Option<String>,
    /// The message through which their path leads.
    message: Option<String>,
}

/// `GET /chat/{conversation_id}/messages`: the latest messages of the visible path or of that through a message, or those before a message, as
/// the page has them.
pub(crate) async fn messages(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(conversation): Id<ConversationId>,
    Query(query): Query<MessagesQuery>,
) -> Result<Html<String>, Failure> {
    let before: Option<MessageId> = parameter("before", "the id of a message", query.before)?;
    let with: Option<MessageId> = parameter("message", "the id of a message", query.message)?;
    let loaded = context::messages(&app.page_state(), &viewer, conversation, (before, with)).await;
    let MessagesView { messages, earlier, models } = loaded.map_err(|Refusal(problem)| Failure(problem))?;
    Ok(fragment(|| view! { <Messages conversation messages earlier models/> }))
}

/// The message whose branch is to be shown.
#[derive(Deserialize)]
struct BranchForm {
    #[serde(default)]
    message: String,
}

/// What a script shows after the messages of another branch.
#[derive(Serialize)]
struct BranchEnd {
    /// The turn in progress at the end of the branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<BranchTurn>,
}

#[derive(Serialize)]
struct BranchTurn {
    turn_id: TurnId,
    model: ModelName,
}

/// `POST /chat/{conversation_id}/branch`: shows another version of a message, and the messages that follow it. Sent as a form by the user, who then gets
/// the page, or as JSON by the browser.
pub(crate) async fn select_branch(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(conversation): Id<ConversationId>,
    request: Request,
) -> Result<Response, Failure> {
    let missing = || Problem::not_found("message");
    let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let form = match is_json {
        true => Json::<BranchForm>::from_request(request, &()).await.ok().map(|Json(form)| form),
        false => Form::<BranchForm>::from_request(request, &()).await.ok().map(|Form(form)| form),
    };
    let message = form.and_then(|form| form.message.parse::<MessageId>().ok()).ok_or_else(missing)?;
    if !store::message::select_branch(&app.db, viewer.user_id, conversation, message).await? {
        return Err(missing().into());
    }
    if !is_json {
        return Ok(Redirect::to(&format!("/chat/{conversation}#m-{message}")).into_response());
    }
    let running = store::turn::running(&app.db, viewer.user_id, conversation, None).await?;
    let running = running.map(|(turn_id, model)| BranchTurn { turn_id, model });
    Ok(Json(BranchEnd { running }).into_response())
}

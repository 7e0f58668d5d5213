//! HTTP handlers of chat: send, follow, stop, quota.

use crate::AppState;
use crate::failure::Failure;
use crate::http::extract::{Id, SignedIn};
use crate::http::sse;
use crate::turn::{self, ChatRequest, history, prompt};
use axum::Json;
use axum::body::{HttpBody as _, to_bytes};
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::{ConversationId, Problem, Quota, TurnId, Viewer};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Timeout for receiving a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// `POST /api/chat`: starts a turn and streams its events.
pub(crate) async fn send(State(app): State<AppState>, SignedIn(viewer): SignedIn, request: Request) -> Response {
    let user = viewer.user_id;
    let started = match read(&app, &viewer, request).await {
        Ok(chat_request) => turn::begin(&app, viewer, chat_request).await,
        Err(problem) => Err(problem.into()),
    };
    match started {
        Ok(started) => sse::answer(started.tail, started.quota.as_ref()),
        Err(Failure(problem)) => {
            app.count_refusal(user, problem.kind);
            metrics::counter!("quotient_refusals_total", "kind" => problem.kind.as_str()).increment(1);
            Failure(problem).into_response()
        }
    }
}

/// Reads a request of bounded size. A body larger than any prompt of the plan is refused by its announced size, before it is read.
async fn read(app: &AppState, viewer: &Viewer, request: Request) -> Result<ChatRequest, Problem> {
    let max = ChatRequest::max_bytes(&viewer.plan);
    let announced = request.body().size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    if announced.is_some_and(|bytes| bytes > max) {
        return Err(ChatRequest::too_large(max));
    }
    let _slots = match ChatRequest::is_large(announced) {
        true => Some((app.counting.acquire_slot(viewer.user_id)?, app.counting.body().await)),
        false => None,
    };
    let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), max)).await;
    let bytes = body
        .map_err(|_| Problem::invalid("", "The request body didn't arrive in time."))?
        .map_err(|_| ChatRequest::too_large(max))?;
    ChatRequest::parse(&bytes, AppState::now())
}

/// The position after which a turn's events are read.
#[derive(Deserialize)]
pub(crate) struct After {
    after: Option<String>,
}

/// `GET /api/turns/{turn_id}/events`: streams a turn's events.
pub(crate) async fn events(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(turn_id): Id<TurnId>,
    Query(query): Query<After>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    own(&app, &viewer, turn_id).await?;
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let after = query.after.or(header).map_or(Ok(0), |text| text.parse::<u32>()).map(u64::from);
    let after = after.map_err(|_| Problem::invalid("after", "`after` must be an event id from the stream."))?;
    let tail = turn::tail(&app, turn_id, after).await?;
    Ok(sse::answer(tail, None))
}

/// `POST /api/turns/{turn_id}/stop`: stops a turn.
pub(crate) async fn stop(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(turn_id): Id<TurnId>,
) -> Result<StatusCode, Failure> {
    own(&app, &viewer, turn_id).await?;
    app.relay.stop(turn_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn own(app: &AppState, viewer: &Viewer, turn_id: TurnId) -> Result<(), Failure> {
    if store::turn::is_owned_by(&app.db, viewer.user_id, turn_id).await? {
        return Ok(());
    }
    Err(Problem::not_found("response").into())
}

/// `GET /api/quota`: returns what is left of the plan's limits.
pub(crate) async fn quota(State(app): State<AppState>, SignedIn(viewer): SignedIn) -> Result<Json<Quota>, Failure> {
    Ok(Json(app.quotas.quota(&viewer).await?))
}

/// The estimate for a draft.
#[derive(Serialize)]
pub(crate) struct Estimate {
    input_tokens: u64,
    fits: bool,
    quota: Quota,
}

/// `POST /api/estimate`: estimates a draft's input and whether it fits the limits.
pub(crate) async fn estimate(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Json<Estimate>, Failure> {
    let chat_request = read(&app, &viewer, request).await?;
    let context =
        store::turn::load_turn_context(&app.db, chat_request.turn_id, chat_request.model.as_ref(), AppState::now())
            .await?;
    let model = prompt::pick(&app, &viewer, &context, chat_request.model.as_ref()).await?.model;
    let full = prompt::load(&app, &viewer, &chat_request).await?;
    prompt::check_size(&viewer.plan, &full.text)?;
    let input = history::estimate(&app, &viewer, &model, full).await?;
    let quota = app.quotas.quota(&viewer).await?;
    let min_output = prompt::min_output(&model);
    let fits = quota.requests.remaining > 0
        && quota.in_flight.now < quota.in_flight.limit
        && (input + min_output).0 <= quota.tokens.remaining
        && input + min_output <= model.context;
    Ok(Json(Estimate { input_tokens: input.0, fits, quota }))
}

/// `POST /chat/{conversation_id}/delete`: deletes a conversation. Ledger and meters are not affected (field note 12).
pub(crate) async fn delete(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<ConversationId>,
) -> Result<Response, Failure> {
    let deleted = store::conversation::delete(&app.db, viewer.user_id, id).await?;
    if !deleted {
        return Err(Problem::not_found("conversation").into());
    }
    Ok(Redirect::to("/chat").into_response())
}

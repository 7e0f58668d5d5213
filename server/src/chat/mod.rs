//! HTTP handlers of chat: send, follow, stop, quota.

pub(crate) mod counting;
mod hedge;
mod opening;
mod overrun;
mod prompt;
pub(crate) mod request;
mod running;
pub(crate) mod sse;
pub(crate) mod turn;

use crate::AppState;
use crate::auth::SignedIn;
use crate::error::{Id, Refused, internal};
use app::api::context::quota_of;
use axum::Json;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::{ConversationId, Problem, Quota, TurnId, Viewer};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

/// `POST /api/chat`: starts a turn and streams its events.
pub(crate) async fn ask(State(app): State<AppState>, SignedIn(viewer): SignedIn, request: Request) -> Response {
    let user = viewer.user_id;
    let begun = match request::read(&app, &viewer, request).await {
        Ok(ask) => turn::begin(&app, viewer, ask).await,
        Err(problem) => Err(problem),
    };
    match begun {
        Ok(begun) => sse::answer(begun.tail, begun.quota.as_ref()),
        Err(problem) => {
            app.count_refusal(user, problem.kind);
            metrics::counter!("quotient_refusals_total", "kind" => format!("{:?}", problem.kind)).increment(1);
            Refused(problem).into_response()
        }
    }
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
) -> Result<Response, Refused> {
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
) -> Result<StatusCode, Refused> {
    own(&app, &viewer, turn_id).await?;
    app.relay.stop(turn_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn own(app: &AppState, viewer: &Viewer, turn_id: TurnId) -> Result<(), Refused> {
    if store::turn::owned(&app.db, viewer.user_id, turn_id).await? {
        return Ok(());
    }
    Err(Problem::not_found("answer").into())
}

/// `GET /api/quota`: returns what is left of the plan's limits.
pub(crate) async fn quota(State(app): State<AppState>, SignedIn(viewer): SignedIn) -> Result<Json<Quota>, Refused> {
    let snapshot = app.meters.users.peek(&viewer.subject).await?;
    Ok(Json(quota_of(&viewer.plan, &snapshot)))
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
) -> Result<Json<Estimate>, Refused> {
    let ask = request::read(&app, &viewer, request).await?;
    let context = store::turn::load_turn_context(&app.db, ask.turn_id, ask.model.as_ref(), AppState::now()).await?;
    let model = prompt::pick(&app, &viewer, &context, ask.model.as_ref()).await?.model;
    let prompt = prompt::prompt(&app, &viewer, &ask).await?;
    prompt::bound(&viewer.plan, &prompt)?;
    let input = prompt::count(&app, &viewer, &model, &prompt).await?.estimated;
    let quota = quota_of(&viewer.plan, &app.meters.users.peek(&viewer.subject).await?);
    let min_output = prompt::output_min(&model);
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
) -> Result<Response, Refused> {
    let deleted = store::conversation::delete(&app.db, viewer.user_id, id).await.map_err(|error| internal(&error))?;
    if !deleted {
        return Err(Problem::not_found("conversation").into());
    }
    Ok(Redirect::to("/chat").into_response())
}

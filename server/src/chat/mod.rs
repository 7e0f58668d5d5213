//! The chat's requests: ask, follow, stop, what is left.

pub(crate) mod counting;
mod hedge;
mod opening;
mod overrun;
mod prompt;
pub(crate) mod request;
mod running;
pub(crate) mod sse;
pub(crate) mod turn;

use crate::House;
use crate::auth::SignedIn;
use crate::error::{Id, Refused, internal};
use app::api::context::quota_of;
use axum::Json;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::{ConversationId, Problem, Quota, TurnId, Viewer};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

/// `POST /api/chat`
pub(crate) async fn ask(State(house): State<House>, SignedIn(viewer): SignedIn, request: Request) -> Response {
    let user = viewer.user_id;
    let begun = match request::read(&house, &viewer, request).await {
        Ok(ask) => turn::begin(&house, viewer, ask).await,
        Err(problem) => Err(problem),
    };
    match begun {
        Ok(begun) => sse::answer(begun.tail, begun.quota.as_ref()),
        Err(problem) => {
            house.count_refusal(user, problem.kind);
            metrics::counter!("quotient_refusals_total", "kind" => format!("{:?}", problem.kind)).increment(1);
            Refused(problem).into_response()
        }
    }
}

/// Where to go on reading a turn's events.
#[derive(Deserialize)]
pub(crate) struct After {
    after: Option<String>,
}

/// `GET /api/turns/{turn_id}/events`
pub(crate) async fn events(
    State(house): State<House>,
    SignedIn(viewer): SignedIn,
    Id(turn_id): Id<TurnId>,
    Query(query): Query<After>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    own(&house, &viewer, turn_id).await?;
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let after = query.after.or(header).map_or(Ok(0), |text| text.parse::<u32>()).map(u64::from);
    let after = after.map_err(|_| Problem::invalid("after", "`after` must be an event id from the stream."))?;
    let tail = turn::tail(&house, turn_id, after).await?;
    Ok(sse::answer(tail, None))
}

/// `POST /api/turns/{turn_id}/stop`
pub(crate) async fn stop(
    State(house): State<House>,
    SignedIn(viewer): SignedIn,
    Id(turn_id): Id<TurnId>,
) -> Result<StatusCode, Refused> {
    own(&house, &viewer, turn_id).await?;
    house.relay.stop(turn_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn own(house: &House, viewer: &Viewer, turn_id: TurnId) -> Result<(), Refused> {
    if store::turn::owned(&house.db, viewer.user_id, turn_id).await? {
        return Ok(());
    }
    Err(Problem::not_found("answer").into())
}

/// `GET /api/quota`
pub(crate) async fn quota(State(house): State<House>, SignedIn(viewer): SignedIn) -> Result<Json<Quota>, Refused> {
    let picture = house.meters.people.peek(&viewer.subject).await?;
    Ok(Json(quota_of(&viewer.plan, &picture)))
}

/// What the composer wants to know of a draft.
#[derive(Serialize)]
pub(crate) struct Estimate {
    input_tokens: u64,
    fits: bool,
    quota: Quota,
}

/// `POST /api/estimate`
pub(crate) async fn estimate(
    State(house): State<House>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Json<Estimate>, Refused> {
    let ask = request::read(&house, &viewer, request).await?;
    let prepared = store::turn::prepare(&house.db, ask.turn_id, ask.model.as_ref(), House::now()).await?;
    let model = prompt::pick(&house, &viewer, &prepared, ask.model.as_ref()).await?.model;
    let prompt = prompt::prompt(&house, &viewer, &ask).await?;
    prompt::bound(&viewer.plan, &prompt)?;
    let input = prompt::count(&house, &viewer, &model, &prompt).await?.estimated;
    let quota = quota_of(&viewer.plan, &house.meters.people.peek(&viewer.subject).await?);
    let least = prompt::output_min(&model);
    let fits = quota.requests.remaining > 0
        && quota.in_flight.now < quota.in_flight.limit
        && (input + least).0 <= quota.tokens.remaining
        && input + least <= model.context;
    Ok(Json(Estimate { input_tokens: input.0, fits, quota }))
}

/// `POST /chat/{conversation_id}/delete`: the words go; ledger and meters don't notice (field note 12).
pub(crate) async fn delete(
    State(house): State<House>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<ConversationId>,
) -> Result<Response, Refused> {
    let deleted = store::conversation::delete(&house.db, viewer.user_id, id).await.map_err(|error| internal(&error))?;
    if !deleted {
        return Err(Problem::not_found("conversation").into());
    }
    Ok(Redirect::to("/chat").into_response())
}

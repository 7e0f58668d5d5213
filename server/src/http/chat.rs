//! HTTP handlers of chat: send, follow, stop, quota. Handlers of turns that have ended are in `turns.rs`.

use crate::AppState;
use crate::accounts::session;
use crate::failure::Failure;
use crate::http::extract::{Id, SignedIn, announced_size};
use crate::http::html_view::html_view;
use crate::http::protect::drain;
use crate::http::sse;
use crate::protection::streams::OpenStream;
use crate::turn::settings::{TurnSettings, load_context};
use crate::turn::{self, ChatRequest, StartedTurn, history, path, prompt};
use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use domain::{Problem, ProblemKind, Quota, TurnId, Viewer};
use http::{HeaderMap, StatusCode};
use relay::Tail;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tower_sessions::Session;

/// Timeout for receiving a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum number of open streams per user. A plan that allows more turns at once allows as many streams.
const MAX_STREAMS: u64 = 32;
/// Retry delay of a user who has too many open streams, in milliseconds.
const STREAMS_RETRY_MS: u64 = 5_000;

/// `POST /api/chat`: starts a turn and streams its events.
pub(crate) async fn send(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Response {
    let user = viewer.user_id;
    match start(&app, viewer, &session, request).await {
        Ok((tail, quota, stream)) => sse::answer(tail, quota.as_ref(), stream),
        Err(Failure(problem)) => {
            app.count_refusal(user, problem.kind);
            metrics::counter!("quotient_refusals_total", "kind" => problem.kind.as_str()).increment(1);
            Failure(problem).into_response()
        }
    }
}

async fn start(
    app: &AppState,
    viewer: Viewer,
    session: &Session,
    request: Request,
) -> Result<(Tail, Option<Quota>, OpenStream), Failure> {
    let stream = open_stream(app, &viewer, session)?;
    let Query(query) = Query::<Events>::try_from_uri(request.uri()).unwrap_or_default();
    let is_html = query.is_html()?;
    let announced = announced_size(&request, ChatRequest::max_bytes(&viewer.plan), ChatRequest::too_large)?;
    let chat_request = read(app, &viewer, request, announced).await?;
    let turn_id = chat_request.turn_id;
    let StartedTurn { tail, quota, presentation } = turn::begin(app, viewer.clone(), chat_request).await?;
    let tail = match is_html {
        true => html_view(app.clone(), viewer, turn_id, (tail, 0), presentation),
        false => tail,
    };
    Ok((tail, quota, stream))
}

/// Takes one of the user's streams. It ends with the session.
fn open_stream(app: &AppState, viewer: &Viewer, session: &Session) -> Result<OpenStream, Problem> {
    let id = session.id().ok_or_else(Problem::sign_in_required)?;
    let max = viewer.plan.in_flight.max(MAX_STREAMS);
    let stream = app.protection.streams.open(viewer.user_id, session::token_hash(&id), max);
    stream.ok_or_else(|| Problem {
        max: Some(max),
        retry_after_ms: Some(STREAMS_RETRY_MS),
        ..Problem::new(
            ProblemKind::InFlightLimit,
            format!("{max} responses are open in your tabs and devices. Close some of them, then try again."),
        )
    })
}

/// Reads a request of bounded size.
async fn read(
    app: &AppState,
    viewer: &Viewer,
    request: Request,
    announced: Option<usize>,
) -> Result<ChatRequest, Problem> {
    let max = ChatRequest::max_bytes(&viewer.plan);
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

/// How a turn's events are read.
#[derive(Default, Deserialize)]
pub(crate) struct Events {
    /// The event after which they are read.
    after: Option<String>,
    /// `html` for rendered HTML in place of text.
    view: Option<String>,
}

impl Events {
    /// Returns whether the HTML view is requested.
    fn is_html(&self) -> Result<bool, Problem> {
        match self.view.as_deref() {
            None => Ok(false),
            Some("html") => Ok(true),
            Some(_) => Err(Problem::invalid("view", "`view` must be `html`. Without it, responses are sent as text.")),
        }
    }
}

/// `GET /api/turns/{turn_id}/events`: streams a turn's events.
pub(crate) async fn events(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    Id(turn_id): Id<TurnId>,
    Query(query): Query<Events>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let stream = open_stream(&app, &viewer, &session)?;
    let is_html = query.is_html()?;
    own(&app, &viewer, turn_id).await?;
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let after = query.after.or(header).map_or(Ok(0), |text| text.parse::<u32>()).map(u64::from);
    let after = after.map_err(|_| Problem::invalid("after", "`after` must be an event id from the stream."))?;
    let tail = match is_html {
        true => html_view(app.clone(), viewer, turn_id, (turn::tail(&app, turn_id, 0).await?, after), None),
        false => turn::tail(&app, turn_id, after).await?,
    };
    Ok(sse::answer(tail, None, stream))
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

/// Returns a 404 problem unless the turn is the viewer's.
pub(super) async fn own(app: &AppState, viewer: &Viewer, turn_id: TurnId) -> Result<(), Failure> {
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

/// `POST /api/estimate`: estimates a draft's input and whether it fits the limits. Its body is charged to the user's budget before it is
/// read: free calls must not cost more than paid ones (field note 66).
pub(crate) async fn estimate(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Json<Estimate>, Failure> {
    let announced = announced_size(&request, ChatRequest::max_bytes(&viewer.plan), ChatRequest::too_large)?;
    let bytes = announced.unwrap_or_else(|| ChatRequest::max_bytes(&viewer.plan));
    if let Err(problem) = app.counting.charge_estimate(viewer.user_id, bytes) {
        drain(request.into_body()).await;
        return Err(problem.into());
    }
    let chat_request = read(&app, &viewer, request, announced).await?;
    let context = load_context(&app, &viewer, &chat_request).await?;
    let settings = TurnSettings::new(&context, &chat_request);
    let named = settings.model(&app, &viewer, &context, &chat_request);
    let model = prompt::pick(&app, &viewer, &context, named).await?.model;
    let full = path::load(&app, &viewer, &chat_request, settings.system).await?;
    let full = turn::attach(&app, &viewer, &model, &chat_request.attachments, full, false).await?;
    prompt::check_size(&viewer.plan, full.question_bytes())?;
    let input = history::estimate(&app, &viewer, &model, full).await?;
    let quota = app.quotas.quota(&viewer).await?;
    let min_output = prompt::min_output(&model);
    let fits = quota.requests.remaining > 0
        && quota.in_flight.now < quota.in_flight.limit
        && (input + min_output).0 <= quota.tokens.remaining
        && input + min_output <= model.context;
    Ok(Json(Estimate { input_tokens: input.0, fits, quota }))
}

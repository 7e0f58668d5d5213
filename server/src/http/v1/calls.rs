//! The endpoints that call a model.

use super::about::About;
use super::caller::ApiCaller;
use super::{body, cors, error, limits};
use crate::AppState;
use crate::failure::{Failure, internal};
use crate::http::protect::drain;
use crate::protection::slots::UserSlot;
use crate::turn::call::{self, Begun, StartedCall};
use crate::turn::call_request::CallRequest;
use crate::turn::reply::Piece;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use domain::{ApiEndpoint, Problem, ProblemKind, TurnId, Viewer};
use futures::{Stream, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use providers::api::ApiFormat;
use sha2::{Digest as _, Sha256};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use store::api_call::StoredAnswer;
use tokio::sync::mpsc::UnboundedReceiver;

/// Interval of comments in a silent stream, so that no proxy closes the connection (field note 24).
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Number of streams that a user's API clients may read at once, beyond the plan's calls at once. What isn't read stays in memory after its call has
/// ended.
const UNREAD_STREAMS: u64 = 32;
/// Header with a value that identifies a request, however often it is sent.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Maximum length of that value.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// `POST /v1/chat/completions`.
pub(super) async fn chat_completions(
    State(app): State<AppState>,
    caller: Result<ApiCaller, Failure>,
    request: Request,
) -> Response {
    answer(&app, ApiEndpoint::ChatCompletions, caller, request).await
}

/// `POST /v1/responses`, without stored state.
pub(super) async fn responses(
    State(app): State<AppState>,
    caller: Result<ApiCaller, Failure>,
    request: Request,
) -> Response {
    answer(&app, ApiEndpoint::Responses, caller, request).await
}

/// `POST /v1/messages`.
pub(super) async fn messages(
    State(app): State<AppState>,
    caller: Result<ApiCaller, Failure>,
    request: Request,
) -> Response {
    answer(&app, ApiEndpoint::Messages, caller, request).await
}

async fn answer(
    app: &AppState,
    endpoint: ApiEndpoint,
    caller: Result<ApiCaller, Failure>,
    request: Request,
) -> Response {
    let about = About::of(&request);
    let caller = match caller {
        Ok(caller) => caller,
        Err(Failure(problem)) => {
            drain(request.into_body()).await;
            return error::response(&about, problem);
        }
    };
    let answered = call(app, endpoint, &about, &caller, request).await;
    let counted = outcome(answered.as_ref().err().map(|Failure(problem)| problem));
    if let Some(is_error) = counted {
        app.loops.record_outcome(caller.key.id, is_error, AppState::now()).await;
    }
    let mut response = match answered {
        Ok(response) => response,
        Err(Failure(problem)) => refuse(app, &about, &caller, problem).await,
    };
    cors::allow(&mut response, &about, &caller.key);
    response
}

/// Returns whether a call counts as an error for the loop breaker; `None` if it isn't counted, because waiting helps or the failure is ours.
fn outcome(problem: Option<&Problem>) -> Option<bool> {
    match problem {
        None => Some(false),
        Some(problem) if problem.status() == 429 || problem.status() == 503 => None,
        Some(problem) => (!matches!(problem.kind, ProblemKind::Conflict | ProblemKind::Internal)).then_some(true),
    }
}

/// Makes the call, and returns its response once that has begun, or is complete if it isn't streamed.
async fn call(
    app: &AppState,
    endpoint: ApiEndpoint,
    about: &About,
    caller: &ApiCaller,
    request: Request,
) -> Result<Response, Failure> {
    let ApiCaller { viewer, key } = caller;
    let checked = caller.check_endpoint(endpoint).and_then(|()| idempotency_hash(request.headers()));
    let idempotency_hash = match checked {
        Ok(hash) => hash,
        Err(problem) => {
            drain(request.into_body()).await;
            return Err(problem.into());
        }
    };
    let (bytes, parsed) = body::read(app, viewer, request, body::parser(about.format)).await?;
    let hash = request_hash(endpoint, &bytes);
    drop(bytes);
    let now = AppState::now();
    let slot = match parsed.streams() {
        true => Some(stream_slot(app, viewer)?),
        false => None,
    };
    let call = CallRequest {
        viewer: viewer.clone(),
        key: key.clone(),
        request: Arc::new(parsed),
        turn_id: TurnId::at(now),
        hash,
        idempotency_hash,
    };
    match call::begin(app, call).await? {
        Begun::Replayed(answer) => Ok(replayed(answer)),
        Begun::Started(started) => started_response(about.format, started, slot).await,
    }
}

/// Takes one of the streams that a user's API clients may read at once.
fn stream_slot(app: &AppState, viewer: &Viewer) -> Result<UserSlot, Problem> {
    let max = viewer.plan.in_flight.saturating_add(UNREAD_STREAMS);
    app.protection.replies.take(viewer.user_id, max).ok_or_else(|| {
        let message = format!("You have {max} open streams. Read them to the end or close some, then try again.");
        Problem { retry_after_ms: Some(1_000), max: Some(max), ..Problem::new(ProblemKind::InFlightLimit, message) }
    })
}

/// Responds with the problem of a call, which is counted.
async fn refuse(app: &AppState, about: &About, caller: &ApiCaller, problem: Problem) -> Response {
    app.count_refusal(caller.viewer.user_id, problem.kind);
    metrics::counter!("quotient_refusals_total", "kind" => problem.kind.as_str()).increment(1);
    let is_limit = problem.status() == 429;
    let mut response = error::response(about, problem);
    if is_limit && let Ok((quota, key)) = limits::read(app, caller).await {
        limits::set(response.headers_mut(), about.format, &quota, &key);
    }
    response
}

/// Returns the hash of the `Idempotency-Key`, if there is one.
fn idempotency_hash(headers: &HeaderMap) -> Result<Option<[u8; 32]>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    if value.is_empty() || value.len() > MAX_IDEMPOTENCY_KEY {
        let message = format!("`Idempotency-Key` must have 1 to {MAX_IDEMPOTENCY_KEY} characters.");
        return Err(Problem::invalid("Idempotency-Key", message));
    }
    Ok(Some(Sha256::digest(value.as_bytes()).into()))
}

/// Returns the hash that distinguishes a request from others of its user.
fn request_hash(endpoint: ApiEndpoint, body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(endpoint.as_str()).chain_update([0]).chain_update(body).finalize().into()
}

/// Responds with a stored answer.
fn replayed(answer: StoredAnswer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    if let Ok(content_type) = HeaderValue::try_from(answer.content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
}

/// Responds with a call's reply: as it arrives if it has the slot of a stream, otherwise once it is complete.
async fn started_response(
    format: ApiFormat,
    started: StartedCall,
    slot: Option<UserSlot>,
) -> Result<Response, Failure> {
    let StartedCall { model, quota, key, mut pieces } = started;
    let streams = slot.is_some();
    let (body, content_type) = match slot {
        Some(slot) => (Body::from_stream(frames(pieces, slot)), "text/event-stream"),
        None => match pieces.recv().await {
            Some(Piece::Whole(json)) => (Body::from(json), "application/json"),
            Some(Piece::Failed(problem)) => return Err(problem.into()),
            Some(Piece::Frames(_) | Piece::LastFrames(_)) | None => {
                return Err(internal(&"a call ended without a reply").into());
            }
        },
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if streams {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store, no-transform"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    }
    if let Ok(model) = HeaderValue::try_from(model.0) {
        headers.insert("x-model", model);
    }
    limits::set(headers, format, &quota, &key);
    Ok(response)
}

/// Streams a reply, with comments while it is silent. Dropping the stream stops the call, and releases its slot.
fn frames(pieces: UnboundedReceiver<Piece>, slot: UserSlot) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::unfold((Some(pieces), slot), async |(pieces, slot)| {
        let mut pieces = pieces?;
        match tokio::time::timeout(HEARTBEAT, pieces.recv()).await {
            Ok(Some(Piece::Frames(frames))) => Some((Ok(Bytes::from(frames)), (Some(pieces), slot))),
            Ok(Some(Piece::LastFrames(frames))) => Some((Ok(Bytes::from(frames)), (None, slot))),
            Ok(Some(Piece::Whole(_) | Piece::Failed(_)) | None) => None,
            Err(_) => Some((Ok(Bytes::from_static(b": keep-alive\n\n")), (Some(pieces), slot))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protection::slots::UserSlots;
    use domain::UserId;
    use futures::StreamExt as _;
    use tokio::sync::mpsc;

    #[test]
    fn an_idempotency_key_has_a_bounded_length() {
        let hash = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, value.parse().unwrap());
            idempotency_hash(&headers)
        };
        assert_eq!(idempotency_hash(&HeaderMap::new()).unwrap(), None);
        assert!(hash("a").unwrap().is_some() && hash(&"a".repeat(255)).unwrap().is_some());
        assert!(hash("").is_err() && hash(&"a".repeat(256)).is_err());
    }

    #[test]
    fn requests_to_different_endpoints_differ() {
        let [chat, messages] = [ApiEndpoint::ChatCompletions, ApiEndpoint::Messages];
        assert_eq!(request_hash(chat, b"{}"), request_hash(chat, b"{}"));
        assert_ne!(request_hash(chat, b"{}"), request_hash(messages, b"{}"));
        assert_ne!(request_hash(chat, b"{}"), request_hash(chat, b"{ }"));
    }

    #[test]
    fn waiting_for_a_limit_is_no_error_of_a_loop() {
        assert_eq!(outcome(None), Some(false));
        assert_eq!(outcome(Some(&Problem::invalid("model", ""))), Some(true));
        assert_eq!(outcome(Some(&Problem::attempts_limit("", 1))), None);
        assert_eq!(outcome(Some(&Problem::overloaded())), None);
        assert_eq!(outcome(Some(&Problem::new(ProblemKind::Internal, ""))), None);
    }

    /// Field note 24: a silent reply sends comments.
    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_sends_comments() {
        let (sender, pieces) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            tokio::time::sleep(HEARTBEAT * 2 + Duration::from_secs(1)).await;
            sender.send(Piece::Frames("data: 1\n\n".to_owned())).unwrap();
        });
        let slots = Arc::new(UserSlots::default());
        let slot = slots.take(UserId::from(uuid::Uuid::nil()), 1).unwrap();
        let all: Vec<_> =
            frames(pieces, slot).map(|frame| String::from_utf8(frame.unwrap().to_vec()).unwrap()).collect().await;
        assert_eq!(all, [": keep-alive\n\n", ": keep-alive\n\n", "data: 1\n\n"]);
        assert!(slots.take(UserId::from(uuid::Uuid::nil()), 1).is_some(), "the slot is free again");
    }
}

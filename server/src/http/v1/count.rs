//! `POST /v1/messages/count_tokens`: the size of a request before it is sent. It costs nothing, and is never below what a call is counted as.

use super::about::About;
use super::caller::ApiCaller;
use super::{body, cors, error};
use crate::AppState;
use crate::failure::Failure;
use crate::http::protect::drain;
use crate::turn::call_request::{CallRequest, count, pick_model, problem_of};
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use domain::ApiEndpoint;
use providers::api::ApiFormat;
use serde::Serialize;
use std::sync::Arc;
use uuid::Uuid;

/// The size of a request.
#[derive(Serialize)]
struct Counted {
    input_tokens: u64,
}

/// `POST /v1/messages/count_tokens`.
pub(super) async fn count_tokens(
    State(app): State<AppState>,
    caller: Result<ApiCaller, Failure>,
    request: Request,
) -> Response {
    let about = About::of(&request);
    let caller = match caller {
        Ok(caller) => caller,
        Err(Failure(problem)) => return error::response(&about, problem),
    };
    let mut response = match counted(&app, &caller, request).await {
        Ok(counted) => Json(counted).into_response(),
        Err(Failure(problem)) => error::response(&about, problem),
    };
    cors::allow(&mut response, &about, &caller.key);
    response
}

/// Counts a request. Its body is charged to the user's budget for estimates before it is read: free calls must not cost more than paid ones
/// (field note 66).
async fn counted(app: &AppState, caller: &ApiCaller, request: Request) -> Result<Counted, Failure> {
    caller.check_endpoint(ApiEndpoint::Messages)?;
    let ApiCaller { viewer, key } = caller;
    let announced = body::announced_size(viewer, &request)?;
    let bytes = announced.unwrap_or_else(|| CallRequest::max_bytes(&viewer.plan));
    if let Err(problem) = app.counting.charge_estimate(viewer.user_id, bytes) {
        drain(request.into_body()).await;
        return Err(problem.into());
    }
    let (_, parsed) = body::read(app, viewer, request, body::parser(ApiFormat::Messages)).await?;
    let (parsed, now) = (Arc::new(parsed), AppState::now());
    let context = store::turn::load_turn_context(&app.db, Uuid::nil().into(), Some(parsed.model()), now).await?;
    let model = pick_model(app, viewer, key, &context, parsed.model()).await?.model;
    parsed.check(&model).map_err(problem_of)?;
    Ok(Counted { input_tokens: count(app, viewer, &parsed, &model).await?.estimated.0 })
}

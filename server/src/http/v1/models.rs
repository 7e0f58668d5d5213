//! `GET /v1/models`: the models that the user's plan and the key allow and that can be called, in the shape of OpenAI, or of Anthropic if the
//! request names its version.

use super::about::About;
use super::caller::ApiCaller;
use super::{cors, error};
use crate::AppState;
use crate::failure::Failure;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use domain::{ApiEndpoint, Model, Problem, ProblemKind};
use providers::api::ApiFormat;
use serde_json::{Value, json};
use uuid::Uuid;

/// `GET /v1/models`.
pub(super) async fn list(
    State(app): State<AppState>,
    caller: Result<ApiCaller, Failure>,
    request: Request,
) -> Response {
    respond(&app, caller, About::of(&request), |format, models| Ok(page(format, &models))).await
}

/// `GET /v1/models/{model}`.
pub(super) async fn show(
    State(app): State<AppState>,
    Path(name): Path<String>,
    caller: Result<ApiCaller, Failure>,
    request: Request,
) -> Response {
    respond(&app, caller, About::of(&request), |format, models| {
        let found = models.iter().find(|model| model.name.0 == name);
        found.map(|model| entry(format, model)).ok_or_else(|| {
            let message =
                "The model doesn't exist, or you don't have access to it. `GET /v1/models` lists those you have.";
            Problem { field: Some("model".to_owned()), ..Problem::new(ProblemKind::NotFound, message) }
        })
    })
    .await
}

async fn respond(
    app: &AppState,
    caller: Result<ApiCaller, Failure>,
    about: About,
    body: impl FnOnce(ApiFormat, Vec<Model>) -> Result<Value, Problem>,
) -> Response {
    let caller = match caller {
        Ok(caller) => caller,
        Err(Failure(problem)) => return error::response(&about, problem),
    };
    let found = models(app, &caller).await;
    let body = found.and_then(|models| body(about.format, models).map_err(Failure));
    let mut response = match body {
        Ok(body) => Json(body).into_response(),
        Err(Failure(problem)) => error::response(&about, problem),
    };
    cors::allow(&mut response, &about, &caller.key);
    response
}

/// Lists the models in the order of the model picker.
async fn models(app: &AppState, caller: &ApiCaller) -> Result<Vec<Model>, Failure> {
    caller.check_endpoint(ApiEndpoint::Models)?;
    let ApiCaller { viewer, key } = caller;
    let context = store::turn::load_turn_context(&app.db, Uuid::nil().into(), None, AppState::now()).await?;
    let offers = context.offers.into_iter().filter(|offer| offer.price.is_some()).map(|offer| offer.model);
    let is_allowed = |model: &Model| viewer.plan.allows(&model.name) && key.allows_model(&model.name);
    Ok(offers.filter(|model| is_allowed(model) && app.providers.offers(model)).collect())
}

/// Returns the only page of a list.
fn page(format: ApiFormat, models: &[Model]) -> Value {
    let data: Vec<Value> = models.iter().map(|model| entry(format, model)).collect();
    match format {
        ApiFormat::Messages => json!({
            "data": data, "has_more": false,
            "first_id": models.first().map(|model| &model.name), "last_id": models.last().map(|model| &model.name),
        }),
        ApiFormat::ChatCompletions | ApiFormat::Responses => json!({"object": "list", "data": data}),
    }
}

/// Returns a model. Its release isn't known, for which Anthropic's format has the beginning of 1970.
fn entry(format: ApiFormat, model: &Model) -> Value {
    match format {
        ApiFormat::Messages => json!({
            "type": "model", "id": model.name, "display_name": model.label, "created_at": "1970-01-01T00:00:00Z",
            "max_input_tokens": model.context, "max_tokens": model.max_output,
        }),
        ApiFormat::ChatCompletions | ApiFormat::Responses => json!({
            "id": model.name, "object": "model", "created": 0, "owned_by": model.provider.name,
            "context_window": model.context, "max_output_tokens": model.max_output,
        }),
    }
}

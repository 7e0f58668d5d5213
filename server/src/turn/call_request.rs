//! An API call before it is admitted: what was requested, and the maximum that it may use.

use super::admit::{check_circuit, check_verified};
use super::prompt::{Fallback, fallback_offer, fitted_fallback, max_token_request, pick, run_counting};
use super::providers::cache_marks;
use super::turn_request::max_cost;
use crate::AppState;
use crate::failure::Failure;
use domain::{
    ApiKey, CacheMarks, Model, ModelName, Picos, Plan, PriceList, Problem, ProblemKind, Tokens, TurnId, Usage, Viewer,
};
use providers::api::{ApiRequest, InvalidRequest};
use providers::estimate::Estimate;
use quota::Demand;
use std::sync::Arc;
use store::api_call::NewApiCall;
use store::turn::{AvailableModel, TurnContext};

/// Maximum size of a body, whatever the plan.
const MAX_BYTES: usize = 8 << 20;
/// Room for images, tools and framing in a body, in addition to the text that a plan allows.
const ROOM_BYTES: usize = 4 << 20;

/// A parsed API request whose key is known.
pub(crate) struct CallRequest {
    pub viewer: Viewer,
    /// The key that it came with.
    pub key: ApiKey,
    pub request: Arc<ApiRequest>,
    /// A new turn id.
    pub turn_id: TurnId,
    /// SHA-256 of endpoint and body.
    pub hash: [u8; 32],
    /// SHA-256 of the `Idempotency-Key`, if there is one.
    pub idempotency_hash: Option<[u8; 32]>,
}

impl CallRequest {
    /// Returns the maximum size of a body that a plan allows.
    pub fn max_bytes(plan: &Plan) -> usize {
        let tokens = usize::try_from(plan.tokens_per_day.0).unwrap_or(usize::MAX);
        tokens.saturating_mul(super::request::BYTES_PER_TOKEN).saturating_add(ROOM_BYTES).min(MAX_BYTES)
    }

    /// Returns the problem of a body above `max` bytes.
    pub fn too_large(max: usize) -> Problem {
        let message = format!("The request body is larger than the {max} bytes that your plan allows.");
        Problem { max: Some(max as u64), ..Problem::new(ProblemKind::TooLarge, message) }
    }

    /// Returns what identifies the request among those that are answered once; `None` without an `Idempotency-Key`.
    pub fn claim(&self) -> Option<NewApiCall> {
        let (user_id, request_hash, turn_id) = (self.viewer.user_id, self.hash, self.turn_id);
        self.idempotency_hash.map(|idempotency_hash| NewApiCall { user_id, idempotency_hash, request_hash, turn_id })
    }
}

/// A call that is ready to be admitted.
pub(super) struct PreparedCall {
    pub model: Model,
    pub price: PriceList,
    /// The model that answers if the requested one can't be reached.
    pub fallback: Option<Fallback>,
    pub counted: Estimate,
    pub demand: Demand,
    /// How the prompt is to be cached, by the requested model and by the fallback.
    pub cache_marks: CacheMarks,
    fallback_marks: CacheMarks,
}

impl PreparedCall {
    /// Returns the models that may answer.
    pub fn models(&self) -> impl Iterator<Item = &ModelName> {
        let fallback = self.fallback.as_ref().map(|fallback| &fallback.model.name);
        std::iter::once(&self.model.name).chain(fallback)
    }

    /// Returns the maximum cost, whichever model answers.
    pub fn max_cost(&self) -> Picos {
        let all = self.demand.input + self.demand.output_max;
        let cost = |model: &Model, price: &PriceList, input: u64, marks: CacheMarks| {
            let output = all.saturating_sub(input);
            let marked = Usage { output: Tokens(output), ..Usage::of_uncounted_prompt(Tokens(input), marks) };
            max_cost(model, price, input, output).max(price.price(&marked).1)
        };
        let own = cost(&self.model, &self.price, self.demand.input, self.cache_marks);
        let others = |other: &Fallback| cost(&other.model, &other.price, other.estimated.0, self.fallback_marks);
        self.fallback.as_ref().map_or(own, |other| own.max(others(other)))
    }
}

/// Checks that user and key may make the call, and computes its maximum usage, all before it is admitted.
pub(super) async fn prepare(
    app: &AppState,
    call: &CallRequest,
    context: &TurnContext,
) -> Result<PreparedCall, Failure> {
    let CallRequest { viewer, key, request, .. } = call;
    let offer = pick_model(app, viewer, key, context, request.model()).await?;
    let AvailableModel { model, price, .. } = offer;
    check_verified(viewer, &model)?;
    request.check(&model).map_err(problem_of)?;
    let price = price.ok_or_else(|| Problem::model_unavailable(60_000))?;
    let counted = count(app, viewer, request, &model).await?;
    let demand = demand(&viewer.plan, &model, counted, request)?;
    let fallback = fallback(app, call, context, &model, demand).await?;
    check_circuit(app, &model, fallback.as_ref())?;
    let cache_marks = |model: &Model, price: &PriceList, estimated: Tokens| {
        cache_marks(Some(request.as_ref()), model, price, estimated)
    };
    Ok(PreparedCall {
        cache_marks: cache_marks(&model, &price, counted.estimated),
        fallback_marks: fallback
            .as_ref()
            .map(|other| cache_marks(&other.model, &other.price, other.estimated))
            .unwrap_or_default(),
        model,
        price,
        fallback,
        counted,
        demand,
    })
}

/// Returns a model by its name, if plan and key allow it and it can be called.
pub(crate) async fn pick_model(
    app: &AppState,
    viewer: &Viewer,
    key: &ApiKey,
    context: &TurnContext,
    name: &ModelName,
) -> Result<AvailableModel, Failure> {
    if !context.offers.iter().any(|offer| offer.model.name == *name) {
        let message = format!("The model `{name}` doesn't exist. `GET /v1/models` lists the models of your plan.");
        return Err(Problem { field: Some("model".to_owned()), ..Problem::new(ProblemKind::NotFound, message) }.into());
    }
    if !key.allows_model(name) {
        let message = format!("This API key isn't allowed to call `{name}`. Change its models at /settings/keys.");
        return Err(Problem { field: Some("model".to_owned()), ..Problem::new(ProblemKind::Forbidden, message) }.into());
    }
    pick(app, viewer, context, Some(name)).await
}

/// Estimates the size of a request's prompt for a model.
pub(crate) async fn count(
    app: &AppState,
    viewer: &Viewer,
    request: &Arc<ApiRequest>,
    model: &Model,
) -> Result<Estimate, Problem> {
    let (request, model) = (Arc::clone(request), model.clone());
    run_counting(app, viewer.user_id, request.bytes(), move || request.estimate(&model)).await
}

/// Returns the problem of a request that can't be passed on.
pub(crate) fn problem_of(invalid: InvalidRequest) -> Problem {
    Problem::invalid(invalid.param.as_deref().unwrap_or_default(), invalid.message)
}

/// Returns the maximum that a call may use. The request's own maximum applies if it is smaller than the plan's and the model's.
fn demand(plan: &Plan, model: &Model, counted: Estimate, request: &ApiRequest) -> Result<Demand, Problem> {
    let demand = max_token_request(plan, model, counted, None).map_err(|problem| {
        let max = problem.max.unwrap_or(model.context.0);
        let message = format!(
            "The request has about {} tokens. {} reads at most {} tokens.",
            counted.estimated,
            model.label,
            Tokens(max)
        );
        Problem { message, ..problem }
    })?;
    let output_max = request.max_output().map_or(demand.output_max, |max| demand.output_max.min(max.0.max(1)));
    Ok(Demand { output_max, output_min: demand.output_min.min(output_max), ..demand })
}

/// Returns the fallback of a model if plan and key allow it, and if it can take the request.
async fn fallback(
    app: &AppState,
    call: &CallRequest,
    context: &TurnContext,
    model: &Model,
    demand: Demand,
) -> Result<Option<Fallback>, Failure> {
    let CallRequest { viewer, key, request, .. } = call;
    let offer = fallback_offer(app, &viewer.plan, context, model);
    let offer = offer.filter(|(model, _)| key.allows_model(&model.name) && request.check(model).is_ok());
    let Some((model, price)) = offer else { return Ok(None) };
    let estimated = count(app, viewer, request, model).await?.estimated;
    let fallback = fitted_fallback(&viewer.plan, (model, price), estimated, demand);
    Ok(fallback.map(|fallback| {
        let max_output = request.max_output().map_or(fallback.max_output, |max| fallback.max_output.min(max));
        Fallback { max_output, ..fallback }
    }))
}

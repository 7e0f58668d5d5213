//! Chooses the model, builds the prompt and estimates its size, all before admission. Nothing here trusts the client: the history comes
//! from Postgres, and lengths are counted.

use super::request::{BYTES_PER_TOKEN, ChatRequest, Input};
use crate::AppState;
use crate::failure::Failure;
use domain::{
    ConversationId, Model, ModelName, Plan, PlanId, PriceList, Problem, ProblemKind, PromptMessage, Role, Tokens,
    TurnId, Viewer,
};
use providers::estimate::{self, Estimate};
use quota::Demand;
use store::turn::{AvailableModel, TurnContext};

/// Minimum output that makes a call worthwhile.
const MIN_OUTPUT: Tokens = Tokens(256);
/// Prompts of up to this many bytes are counted inline. Longer ones take milliseconds and are counted off the async workers.
const COUNTED_AT_ONCE: usize = 16 * 1024;

/// The prompt of a turn.
#[derive(Clone)]
pub(crate) struct Prompt {
    /// The conversation it belongs to; `None` starts a new one.
    pub conversation_id: Option<ConversationId>,
    /// The turn that is regenerated and superseded.
    pub retry_of: Option<TurnId>,
    /// The user's message.
    pub text: String,
    /// All messages that the model reads.
    pub messages: Vec<PromptMessage>,
}

/// Returns the model to call: the requested one, otherwise the first one that the plan and the providers both offer.
pub(crate) async fn pick(
    app: &AppState,
    viewer: &Viewer,
    context: &TurnContext,
    named: Option<&ModelName>,
) -> Result<AvailableModel, Failure> {
    let offers = &context.offers;
    let Some(name) = named else {
        let offered = |name: &ModelName| {
            offers.iter().find(|offer| offer.model.name == *name && app.providers.offers(&offer.model))
        };
        return viewer.plan.models.iter().find_map(offered).cloned().ok_or_else(unavailable);
    };
    let known = offers.iter().find(|offer| offer.model.name == *name);
    let offer = known.ok_or_else(|| Problem::invalid("model", "This model doesn't exist."))?;
    if !viewer.plan.allows(name) {
        let upgrade = larger(app, &viewer.plan, |plan| plan.allows(name)).await?;
        return Err(Problem::plan_too_small(&offer.model.label, upgrade).into());
    }
    if !app.providers.offers(&offer.model) {
        return Err(unavailable());
    }
    Ok(offer.clone())
}

/// The problem of a model that no provider offers now.
fn unavailable() -> Failure {
    Problem::model_unavailable(60_000).into()
}

/// The fallback model of a turn.
pub(crate) struct Fallback {
    pub model: Model,
    pub price: PriceList,
    /// Input as the fallback's tokenizer counts it.
    pub estimated: Tokens,
    /// Maximum output: the turn's reservation less the fallback's input.
    pub max_output: Tokens,
}

/// Returns the fallback of a model if the plan allows it, it has a price, and the prompt fits its context and the turn's reservation.
pub(crate) async fn fallback(
    app: &AppState,
    viewer: &Viewer,
    context: &TurnContext,
    model: &Model,
    prompt: &Prompt,
    demand: Demand,
) -> Result<Option<Fallback>, Failure> {
    let plan = &viewer.plan;
    let named = model.fallback.as_ref().filter(|name| plan.allows(name));
    let offer = named.and_then(|name| context.offers.iter().find(|offer| offer.model.name == *name));
    let Some(AvailableModel { model, price: Some(price), .. }) =
        offer.filter(|offer| app.providers.offers(&offer.model))
    else {
        return Ok(None);
    };
    let estimated = count(app, viewer, model, prompt).await?.estimated;
    let room = model.context.0.min(demand.input + demand.output_max).saturating_sub(estimated.0);
    let max_output = plan.max_output.min(model.max_output).min(Tokens(room));
    let fits = max_output >= min_output(model);
    Ok(fits.then(|| Fallback { model: model.clone(), price: price.clone(), estimated, max_output }))
}

/// Returns the smallest larger plan that satisfies `would`.
pub(crate) async fn larger(
    app: &AppState,
    current: &Plan,
    would: impl Fn(&Plan) -> bool,
) -> Result<Option<PlanId>, Failure> {
    let plans = store::plan::list(&app.db).await?;
    Ok(plans.into_iter().find(|plan| plan.sort > current.sort && would(plan)).map(|plan| plan.id))
}

/// Builds the prompt: the stored conversation and the new message, or an earlier message again.
pub(crate) async fn prompt(app: &AppState, viewer: &Viewer, chat_request: &ChatRequest) -> Result<Prompt, Failure> {
    let gone = || Failure(Problem::not_found("conversation"));
    let load_messages = async |id: ConversationId| {
        let messages = store::message::load_prompt(&app.db, viewer.user_id, id).await?;
        messages.ok_or_else(gone)
    };
    let (conversation_id, retry_of, past, text) = match &chat_request.input {
        Input::New(text) => {
            let past = match chat_request.conversation_id {
                Some(id) => load_messages(id).await?,
                None => Vec::new(),
            };
            (chat_request.conversation_id, None, past, text.clone())
        }
        Input::Again(earlier) => {
            let found = store::turn::load_for_regenerate(&app.db, viewer.user_id, *earlier).await?;
            let found = found.ok_or_else(|| Problem::not_found("response"))?;
            if chat_request.conversation_id.is_some_and(|id| id != found.conversation_id) {
                return Err(
                    Problem::invalid("conversation_id", "This response belongs to another conversation.").into()
                );
            }
            if !found.ended {
                return Err(
                    Problem::new(ProblemKind::Conflict, "This response is still in progress. Stop it first.").into()
                );
            }
            let mut past = load_messages(found.conversation_id).await?;
            let Some(index) = past.iter().position(|message| message.turn_id == *earlier && message.role == Role::User)
            else {
                return Err(Problem::new(ProblemKind::Conflict, "This response was replaced by a newer one.").into());
            };
            if past[index..].iter().any(|message| message.turn_id != *earlier) {
                return Err(Problem::new(ProblemKind::Conflict, "Only the last response can be regenerated.").into());
            }
            let text = past.swap_remove(index).text;
            past.truncate(index);
            (Some(found.conversation_id), Some(*earlier), past, text)
        }
    };
    let past = past.into_iter().map(|message| PromptMessage { role: message.role, text: message.text });
    let messages = past.chain([PromptMessage { role: Role::User, text: text.clone() }]).collect();
    Ok(Prompt { conversation_id, retry_of, text, messages })
}

/// Returns the minimum output that makes a call worthwhile, capped by the model's maximum output.
pub(crate) fn min_output(model: &Model) -> Tokens {
    MIN_OUTPUT.min(model.max_output)
}

/// Returns the maximum that the call may use.
///
/// # Errors
/// Returns a 413 problem if the prompt doesn't fit the model.
pub(crate) fn max_token_request(plan: &Plan, model: &Model, counted: Estimate) -> Result<Demand, Problem> {
    let (input, min_output) = (counted.estimated, min_output(model));
    let max = Tokens(model.context.0.saturating_sub(min_output.0));
    if input > max {
        return Err(Problem::too_large(input, max, None));
    }
    let room = Tokens(model.context.0 - input.0);
    let max_output = plan.max_output.min(model.max_output).min(room).max(min_output);
    Ok(Demand { input: input.0, output_min: min_output.0, output_max: max_output.0 })
}

/// Refuses a prompt that can't fit the plan's daily limit by its bytes alone, because counting it takes long and nothing has been admitted
/// yet.
pub(crate) fn check_size(plan: &Plan, prompt: &Prompt) -> Result<(), Problem> {
    let bytes: u64 = prompt.messages.iter().map(|message| message.text.len() as u64).sum();
    if bytes / BYTES_PER_TOKEN as u64 > plan.tokens_per_day.0 {
        return Err(Problem::too_large(Tokens(bytes / 4), plan.tokens_per_day, None));
    }
    Ok(())
}

/// Estimates a prompt's tokens.
pub(crate) async fn count(
    app: &AppState,
    viewer: &Viewer,
    model: &Model,
    prompt: &Prompt,
) -> Result<Estimate, Problem> {
    let bytes: usize = prompt.messages.iter().map(|message| message.text.len()).sum();
    app.counting.charge(viewer.user_id, bytes)?;
    if bytes <= COUNTED_AT_ONCE {
        return Ok(estimate::prompt(model, domain::brand::SYSTEM_PROMPT, &prompt.messages));
    }
    let _slot = app.counting.acquire_slot(viewer.user_id)?;
    let (model, messages) = (model.clone(), prompt.messages.clone());
    app.counting.run(move || estimate::prompt(&model, domain::brand::SYSTEM_PROMPT, &messages)).await
}

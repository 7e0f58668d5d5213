//! What a model will read, who that model is, and how much of it there is: everything before the meters are asked. Nothing here trusts
//! a client: history is ours, lengths are counted.

use super::request::{ChatRequest, Words};
use crate::AppState;
use crate::error::internal;
use domain::{
    ConversationId, Model, ModelName, Plan, PlanId, PriceList, Problem, ProblemKind, PromptMessage, Role, Tokens,
    TurnId, Viewer,
};
use limits::Demand;
use providers::estimate::{self, Estimate};
use store::turn::{AvailableModel, TurnContext};

/// The shortest answer worth asking for.
const OUTPUT_MIN: Tokens = Tokens(256);
/// A prompt of so many bytes is counted where it stands; a longer one takes milliseconds, off the async workers.
const COUNTED_AT_ONCE: usize = 16 * 1024;
/// No text that users write has more bytes per token; only long runs of one character do.
pub(super) const BYTES_PER_TOKEN: usize = 32;

/// What shall be answered.
#[derive(Clone)]
pub(crate) struct Prompt {
    /// Where it belongs; none begins a conversation.
    pub conversation_id: Option<ConversationId>,
    /// The turn whose question and answer give way.
    pub retry_of: Option<TurnId>,
    /// What the user says.
    pub text: String,
    /// Everything that the model will read.
    pub messages: Vec<PromptMessage>,
}

/// The model that is asked: the one named, else the first that plan and providers both offer.
pub(crate) async fn pick(
    app: &AppState,
    viewer: &Viewer,
    context: &TurnContext,
    named: Option<&ModelName>,
) -> Result<AvailableModel, Problem> {
    let offers = &context.offers;
    let Some(name) = named else {
        let offered = |name: &ModelName| {
            offers.iter().find(|offer| offer.model.name == *name && app.providers.offers(&offer.model))
        };
        return viewer.plan.models.iter().find_map(offered).cloned().ok_or_else(|| Problem::model_unavailable(60_000));
    };
    let known = offers.iter().find(|offer| offer.model.name == *name);
    let offer = known.ok_or_else(|| Problem::invalid("model", "This model doesn't exist."))?;
    if !viewer.plan.allows(name) {
        let upgrade = larger(app, &viewer.plan, |plan| plan.allows(name)).await?;
        return Err(Problem::plan_too_small(&offer.model.label, upgrade));
    }
    if !app.providers.offers(&offer.model) {
        return Err(Problem::model_unavailable(60_000));
    }
    Ok(offer.clone())
}

/// Who answers where the model that was asked can't be reached.
pub(crate) struct Fallback {
    pub model: Model,
    pub price: PriceList,
    /// Input as they will count it.
    pub estimated: Tokens,
    /// The longest answer: what the question was admitted for, less their input.
    pub most: Tokens,
}

/// Who stands in for a model: where the plan allows them, they have a price, and the question fits them and what it is admitted for.
pub(crate) async fn fallback(
    app: &AppState,
    viewer: &Viewer,
    context: &TurnContext,
    model: &Model,
    prompt: &Prompt,
    demand: Demand,
) -> Result<Option<Fallback>, Problem> {
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
    let most = plan.max_output.min(model.max_output).min(Tokens(room));
    let fits = most >= output_min(model);
    Ok(fits.then(|| Fallback { model: model.clone(), price: price.clone(), estimated, most }))
}

/// The smallest larger plan that would do.
pub(crate) async fn larger(
    app: &AppState,
    current: &Plan,
    would: impl Fn(&Plan) -> bool,
) -> Result<Option<PlanId>, Problem> {
    let plans = store::plan::list(&app.db).await.map_err(|error| internal(&error))?;
    Ok(plans.into_iter().find(|plan| plan.sort > current.sort && would(plan)).map(|plan| plan.id))
}

/// Everything the model will read: the conversation so far, as we kept it, and the new words, or an earlier question again.
pub(crate) async fn prompt(app: &AppState, viewer: &Viewer, chat_request: &ChatRequest) -> Result<Prompt, Problem> {
    let gone = || Problem::not_found("conversation");
    let said = async |id: ConversationId| {
        let said = store::message::said(&app.db, viewer.user_id, id).await.map_err(|error| internal(&error))?;
        said.ok_or_else(gone)
    };
    let (conversation_id, retry_of, past, text) = match &chat_request.words {
        Words::New(text) => {
            let past = match chat_request.conversation_id {
                Some(id) => said(id).await?,
                None => Vec::new(),
            };
            (chat_request.conversation_id, None, past, text.clone())
        }
        Words::Again(earlier) => {
            let found = store::turn::earlier(&app.db, viewer.user_id, *earlier).await;
            let found = found.map_err(|error| internal(&error))?.ok_or_else(|| Problem::not_found("answer"))?;
            if chat_request.conversation_id.is_some_and(|id| id != found.conversation_id) {
                return Err(Problem::invalid("conversation_id", "This response belongs to another conversation."));
            }
            if !found.ended {
                return Err(Problem::new(ProblemKind::Conflict, "This response is still in progress. Stop it first."));
            }
            let mut past = said(found.conversation_id).await?;
            let Some(place) = past.iter().position(|said| said.turn_id == *earlier && said.role == Role::User) else {
                return Err(Problem::new(ProblemKind::Conflict, "This response was replaced by a newer one."));
            };
            if past[place..].iter().any(|said| said.turn_id != *earlier) {
                return Err(Problem::new(ProblemKind::Conflict, "Only the last response can be regenerated."));
            }
            let text = past.swap_remove(place).text;
            past.truncate(place);
            (Some(found.conversation_id), Some(*earlier), past, text)
        }
    };
    let past = past.into_iter().map(|said| PromptMessage { role: said.role, text: said.text });
    let messages = past.chain([PromptMessage { role: Role::User, text: text.clone() }]).collect();
    Ok(Prompt { conversation_id, retry_of, text, messages })
}

/// The least output that makes a call worth it, never above what the model can say.
pub(crate) fn output_min(model: &Model) -> Tokens {
    OUTPUT_MIN.min(model.max_output)
}

/// What the call may use at most; 413 where it could never fit the model.
pub(crate) fn ceiling(plan: &Plan, model: &Model, counted: Estimate) -> Result<Demand, Problem> {
    let (input, least) = (counted.estimated, output_min(model));
    let max = Tokens(model.context.0.saturating_sub(least.0));
    if input > max {
        return Err(Problem::too_large(input, max, None));
    }
    let room = Tokens(model.context.0 - input.0);
    let most = plan.max_output.min(model.max_output).min(room).max(least);
    Ok(Demand { input: input.0, output_min: least.0, output_max: most.0 })
}

/// Refuses what can't fit a plan's day by its bytes alone, before they are counted: that takes long, and nothing has been admitted yet.
pub(crate) fn bound(plan: &Plan, prompt: &Prompt) -> Result<(), Problem> {
    let bytes: u64 = prompt.messages.iter().map(|message| message.text.len() as u64).sum();
    if bytes / BYTES_PER_TOKEN as u64 > plan.tokens_per_day.0 {
        return Err(Problem::too_large(Tokens(bytes / 4), plan.tokens_per_day, None));
    }
    Ok(())
}

/// A prompt's tokens.
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
    let _place = app.counting.place(viewer.user_id)?;
    let (model, messages) = (model.clone(), prompt.messages.clone());
    app.counting.run(move || estimate::prompt(&model, domain::brand::SYSTEM_PROMPT, &messages)).await
}

//! Chooses the model, builds the prompt and estimates its size, all before admission. Nothing here trusts the client: the history comes
//! from Postgres, and lengths are counted.

use super::attached::Attached;
use super::image_memory::ImagePermit;
use super::request::BYTES_PER_TOKEN;
use crate::AppState;
use crate::failure::Failure;
use domain::{
    ConversationId, HistoryCut, Model, ModelName, Plan, PlanId, PriceList, Problem, PromptMessage, Role, Tokens,
    UserId, Viewer,
};
use providers::estimate::{self, Estimate};
use providers::prompt::normalized;
use quota::Demand;
use store::turn::{AvailableModel, Branch, TurnContext};

/// Minimum output that makes a call worthwhile.
const MIN_OUTPUT: Tokens = Tokens(256);
/// Prompts of up to this many bytes are counted inline. Longer ones take milliseconds and are counted off the async workers.
const COUNTED_AT_ONCE: usize = 16 * 1024;

/// A turn's message and the path of the conversation's tree before it, not yet fitted to a model.
pub(crate) struct FullPrompt {
    /// The conversation it belongs to; `None` starts a new one.
    pub conversation_id: Option<ConversationId>,
    /// Where the turn is in the conversation's tree.
    pub branch: Branch,
    /// The system prompt.
    pub system: String,
    /// The messages of the path before the user's, in order.
    pub past: Vec<store::message::PromptMessage>,
    /// The user's message.
    pub text: String,
    /// The files of the message and of those before it.
    pub attached: Attached,
}

/// The prompt of a turn, fitted to its model.
pub(crate) struct Prompt {
    /// The conversation it belongs to; `None` starts a new one.
    pub conversation_id: Option<ConversationId>,
    /// Where the turn is in the conversation's tree.
    pub branch: Branch,
    /// The user's message.
    pub text: String,
    /// The system prompt: the deployment's, with the instructions of the user and the conversation.
    pub system: String,
    /// All messages that the model reads, in the shape that every provider accepts.
    pub messages: Vec<PromptMessage>,
    /// What the model reads in place of the oldest messages; `None` if it reads all of them.
    pub history_cut: Option<HistoryCut>,
    /// The memory that the images of the messages take, which is free again when the prompt is dropped.
    _image_permit: Option<ImagePermit>,
}

impl FullPrompt {
    /// Returns the number of bytes of the system prompt and of all messages.
    pub fn bytes(&self) -> usize {
        self.system.len() + self.past.iter().map(|message| message.text.len()).sum::<usize>() + self.question_bytes()
    }

    /// Returns the number of bytes of the user's message with the text of its files.
    pub fn question_bytes(&self) -> usize {
        self.text.len() + self.attached.question_bytes()
    }

    /// Returns the user's message as models read it.
    pub fn question(&self) -> PromptMessage {
        self.attached.question(&self.text)
    }

    /// Returns the prompt without the first `cut` messages, which `summary` replaces.
    pub fn fitted(&self, cut: usize, summary: Option<&str>) -> Prompt {
        let history_cut =
            (cut > 0).then_some(if summary.is_some() { HistoryCut::Summarized } else { HistoryCut::Dropped });
        let past = self.past.iter().skip(cut);
        let past = past.map(|message| self.attached.past(message));
        let summary = summary.map(summary_message);
        let question = self.question();
        Prompt {
            conversation_id: self.conversation_id,
            branch: self.branch,
            text: self.text.clone(),
            system: self.system.clone(),
            messages: normalized(summary.into_iter().chain(past).chain([question]).collect()),
            history_cut,
            _image_permit: self.attached.image_permit.clone(),
        }
    }
}

impl Prompt {
    /// Returns the prompt of a side call, such as a summary. A user's instructions are for answers, so it has only the deployment's
    /// system prompt.
    pub fn of_side_call(conversation_id: Option<ConversationId>, messages: Vec<PromptMessage>) -> Self {
        let system = domain::brand::SYSTEM_PROMPT.to_owned();
        Self {
            conversation_id,
            branch: Branch::End { leaf_id: None },
            text: String::new(),
            system,
            messages,
            history_cut: None,
            _image_permit: None,
        }
    }

    /// Returns whether a model must read images to answer.
    pub fn has_images(&self) -> bool {
        self.messages.iter().any(|message| !message.images.is_empty())
    }
}

/// Returns the message that carries a summary to a model.
pub(super) fn summary_message(summary: &str) -> PromptMessage {
    PromptMessage::text(Role::User, format!("Summary of the earlier conversation: {summary}"))
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

/// Returns the fallback of a model if the plan allows it, it has a price, it reads what the prompt contains, and the prompt fits its context and the turn's reservation.
pub(crate) async fn fallback(
    app: &AppState,
    viewer: &Viewer,
    context: &TurnContext,
    model: &Model,
    prompt: &Prompt,
    demand: Demand,
) -> Result<Option<Fallback>, Failure> {
    let offer = fallback_offer(app, &viewer.plan, context, model);
    let Some(offer) = offer.filter(|(model, _)| model.takes_images || !prompt.has_images()) else { return Ok(None) };
    let estimated = count(app, viewer.user_id, offer.0, &prompt.system, &prompt.messages).await?.estimated;
    Ok(fitted_fallback(&viewer.plan, offer, estimated, demand))
}

/// Returns the fallback of a model and its price, if the plan allows it and it can be called.
pub(super) fn fallback_offer<'a>(
    app: &AppState,
    plan: &Plan,
    context: &'a TurnContext,
    model: &Model,
) -> Option<(&'a Model, &'a PriceList)> {
    let name = model.fallback.as_ref().filter(|name| plan.allows(name))?;
    let offer = context.offers.iter().find(|offer| offer.model.name == *name)?;
    let price = offer.price.as_ref()?;
    app.providers.offers(&offer.model).then_some((&offer.model, price))
}

/// Returns a fallback with its maximum output, if a prompt of this size fits its context and the turn's reservation.
pub(super) fn fitted_fallback(
    plan: &Plan,
    (model, price): (&Model, &PriceList),
    estimated: Tokens,
    demand: Demand,
) -> Option<Fallback> {
    let room = model.context.0.min(demand.input + demand.output_max).saturating_sub(estimated.0);
    let max_output = plan.max_output.min(model.max_output).min(Tokens(room));
    let fits = max_output >= min_output(model).min(Tokens(demand.output_max));
    fits.then(|| Fallback { model: model.clone(), price: price.clone(), estimated, max_output })
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

/// Returns the minimum output that makes a call worthwhile, capped by the model's maximum output.
pub(crate) fn min_output(model: &Model) -> Tokens {
    MIN_OUTPUT.min(model.max_output)
}

/// Returns the maximum that the call may use. `max_output` is a cap in addition to those of the plan and the model; `None` adds none.
///
/// # Errors
/// Returns a 413 problem if the prompt doesn't fit the model.
pub(crate) fn max_token_request(
    plan: &Plan,
    model: &Model,
    counted: Estimate,
    max_output: Option<Tokens>,
) -> Result<Demand, Problem> {
    let (input, min_output) = (counted.estimated, min_output(model));
    let max = Tokens(model.context.0.saturating_sub(min_output.0));
    if input > max {
        return Err(Problem::too_large(input, max, None));
    }
    let room = Tokens(model.context.0 - input.0);
    let own = plan.max_output.min(model.max_output).min(room);
    let max_output = max_output.map_or(own, |cap| own.min(cap)).max(min_output);
    Ok(Demand { input: input.0, output_min: min_output.0, output_max: max_output.0 })
}

/// Refuses a message that can't fit the plan's daily limit by its bytes alone, because counting it takes long and nothing has been admitted
/// yet.
pub(crate) fn check_size(plan: &Plan, bytes: usize) -> Result<(), Problem> {
    let bytes = bytes as u64;
    if bytes / BYTES_PER_TOKEN as u64 > plan.tokens_per_day.0 {
        return Err(Problem::too_large(Tokens(bytes / 4), plan.tokens_per_day, None));
    }
    Ok(())
}

/// Estimates a prompt's tokens.
pub(super) async fn count(
    app: &AppState,
    user: UserId,
    model: &Model,
    system: &str,
    messages: &[PromptMessage],
) -> Result<Estimate, Problem> {
    let bytes = system.len() + messages.iter().map(|message| message.text.len()).sum::<usize>();
    let (model, system, messages) = (model.clone(), system.to_owned(), messages.to_vec());
    run_counting(app, user, bytes, move || estimate::prompt(&model, &system, &messages)).await
}

/// Runs work that counts about this many bytes: inline if they are few, otherwise off the async workers and within the user's limits.
pub(crate) async fn run_counting<T: Send + 'static>(
    app: &AppState,
    user: UserId,
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    app.counting.charge(user, bytes)?;
    if bytes <= COUNTED_AT_ONCE {
        app.counting.load_vocabulary().await;
        return Ok(work());
    }
    let _slot = app.counting.acquire_slot(user)?;
    app.counting.run(work).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::MessageId;
    use time::macros::datetime;

    /// Returns a conversation; each pair is one turn, with an empty answer if the turn has none.
    fn conversation(turns: &[(&str, &str)], text: &str) -> FullPrompt {
        let now = datetime!(2026-11-27 12:00 UTC);
        let mut past = Vec::new();
        for (question, answer) in turns {
            for (role, text) in [(Role::User, question), (Role::Assistant, answer)] {
                if !text.is_empty() {
                    let (message_id, text) = (MessageId::at(now), (*text).to_owned());
                    past.push(store::message::PromptMessage { message_id, role, text });
                }
            }
        }
        let (text, attached) = (text.to_owned(), Attached::default());
        let system = domain::brand::SYSTEM_PROMPT.to_owned();
        FullPrompt { conversation_id: None, branch: Branch::End { leaf_id: None }, system, past, text, attached }
    }

    fn sent(prompt: &Prompt) -> Vec<(Role, &str)> {
        prompt.messages.iter().map(|message| (message.role, message.text.as_str())).collect()
    }

    #[test]
    fn a_summary_comes_before_what_is_kept_and_roles_alternate() {
        let full = conversation(&[("one", "1"), ("two", ""), ("three", "3")], "four");
        let whole = full.fitted(0, None);
        let expected =
            [(Role::User, "one"), (Role::Assistant, "1"), (Role::User, "two\n\nthree"), (Role::Assistant, "3")];
        assert_eq!((&sent(&whole)[..4], whole.history_cut), (&expected[..], None));
        assert_eq!(sent(&whole)[4..], [(Role::User, "four")]);
        let cut = full.fitted(3, Some("It began with one and two."));
        let first = "Summary of the earlier conversation: It began with one and two.\n\nthree";
        assert_eq!(sent(&cut), [(Role::User, first), (Role::Assistant, "3"), (Role::User, "four")]);
        assert_eq!((cut.history_cut, cut.text.as_str()), (Some(HistoryCut::Summarized), "four"));
        let all = full.fitted(5, Some("Much."));
        assert_eq!(sent(&all), [(Role::User, "Summary of the earlier conversation: Much.\n\nfour")]);
        let dropped = full.fitted(5, None);
        assert_eq!((sent(&dropped), dropped.history_cut), (vec![(Role::User, "four")], Some(HistoryCut::Dropped)));
    }
}

//! A turn that is ready to be admitted.

use super::prompt::{Fallback, Prompt};
use super::request::ChatRequest;
use domain::{Model, ModelName, Picos, PriceList, Tokens, Usage, Viewer};
use providers::estimate::Estimate;
use quota::Demand;
use std::time::Duration;

/// A turn that is ready to be admitted.
pub(crate) struct TurnRequest {
    pub viewer: Viewer,
    pub chat_request: ChatRequest,
    pub model: Model,
    pub price: PriceList,
    /// The model that answers if the requested one can't be reached.
    pub fallback: Option<Fallback>,
    /// Silence after which the fallback is called as well; with `None` it is called only if the model can't be reached.
    pub hedge_after: Option<Duration>,
    pub prompt: Prompt,
    pub counted: Estimate,
    pub demand: Demand,
}

impl TurnRequest {
    /// Returns the models that may answer.
    pub fn models(&self) -> impl Iterator<Item = &ModelName> {
        [Some(&self.model), self.fallback.as_ref().map(|other| &other.model)]
            .into_iter()
            .flatten()
            .map(|model| &model.name)
    }

    /// Returns the tokens to reserve. For a hedged turn they include the input of the abandoned call.
    pub fn demand(&self) -> Demand {
        match &self.fallback {
            Some(fallback) if self.hedge_after.is_some() => {
                Demand { input: self.demand.input + fallback.estimated.0, ..self.demand }
            }
            _ => self.demand,
        }
    }

    /// Returns the maximum cost, whichever model answers.
    pub fn max_cost(&self) -> Picos {
        let all = self.demand.input + self.demand.output_max;
        let cost = |price: &PriceList, input: u64, output: u64| {
            price.price(&Usage { input: Tokens(input), output: Tokens(output), ..Usage::default() }).1
        };
        let whole = |price: &PriceList, input: u64| cost(price, input, all.saturating_sub(input));
        let own = whole(&self.price, self.demand.input);
        let Some(fallback) = &self.fallback else { return own };
        let (price, input) = (&fallback.price, fallback.estimated.0);
        if self.hedge_after.is_none() {
            return own.max(whole(price, input));
        }
        let first_answers = own.plus(cost(price, input, 0));
        let fallback_answers = whole(price, input).plus(cost(&self.price, self.demand.input, 0));
        first_answers.max(fallback_answers)
    }
}

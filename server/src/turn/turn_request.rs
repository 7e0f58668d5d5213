//! A turn that is ready to be admitted.

use super::prompt::{Fallback, Prompt};
use super::providers::sets_breakpoints;
use super::request::ChatRequest;
use domain::{ChatSettings, Model, ModelName, Picos, PriceList, Tokens, Usage, Viewer, WireFormat};
use providers::estimate::Estimate;
use quota::Demand;
use std::time::Duration;

/// A turn that is ready to be admitted.
pub(crate) struct TurnRequest {
    pub viewer: Viewer,
    pub chat_request: ChatRequest,
    pub model: Model,
    pub price: PriceList,
    /// The reasoning effort; `None` leaves it to the model.
    pub effort: Option<String>,
    /// The settings of the conversation that are written with the turn.
    pub settings: ChatSettings,
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
        let own_input = |output| max_cost(&self.model, &self.price, self.demand.input, output);
        let own = own_input(all.saturating_sub(self.demand.input));
        let Some(fallback) = &self.fallback else { return own };
        let input = fallback.estimated.0;
        let fallback_input = |output| max_cost(&fallback.model, &fallback.price, input, output);
        let fallbacks = fallback_input(all.saturating_sub(input));
        if self.hedge_after.is_none() {
            return own.max(fallbacks);
        }
        own.plus(fallback_input(0)).max(fallbacks.plus(own_input(0)))
    }
}

/// Returns the maximum cost of a call. Where the provider may write its input to a cache, the price of that applies if it is higher.
pub(super) fn max_cost(model: &Model, price: &PriceList, input: u64, output: u64) -> Picos {
    let usage = Usage { input: Tokens(input), output: Tokens(output), ..Usage::default() };
    let cost = price.price(&usage).1;
    // OpenAI caches without breakpoints.
    let may_write = sets_breakpoints(model, Tokens(input)) || model.provider.wire_format == WireFormat::OpenAi;
    if !may_write {
        return cost;
    }
    let written = Usage { input: Tokens(0), cache_write: Tokens(input), ..usage };
    cost.max(price.price(&written).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::providers::own_cache_marks;
    use crate::turn::testing::model;
    use domain::{CacheMarks, MicrosPerMillion, ModelPriceId, Price, Thinking};

    /// The hold covers a prompt that is written to the cache, in the tier of its length.
    #[test]
    fn cache_writes_are_reserved_where_they_may_happen() {
        let tier = |above, input| Price {
            id: ModelPriceId::from(uuid::Uuid::nil()),
            above: Tokens(above),
            input: MicrosPerMillion(input),
            cache_read: None,
            cache_write: Some(MicrosPerMillion(input * 5 / 4)),
            cache_write_long: Some(MicrosPerMillion(input * 2)),
            output: MicrosPerMillion(0),
        };
        let price = PriceList::new(vec![tier(0, 100), tier(10_000, 1_000)]).unwrap();
        let mut model = model(Thinking::None);
        let cost = |model: &Model, input| max_cost(model, &price, input, 5).0;
        assert_eq!(cost(&model, 4_096), 4_096 * 100, "no breakpoints");
        model.min_cacheable = Some(Tokens(4_096));
        assert_eq!([cost(&model, 4_095), cost(&model, 4_096)], [4_095 * 100, 4_096 * 125]);
        assert_eq!(cost(&model, 20_000), 20_000 * 1_250, "the tier of a long prompt");
        model.min_cacheable = None;
        model.provider.wire_format = WireFormat::OpenAi;
        assert_eq!(cost(&model, 4_000), 4_000 * 125);
        assert_eq!(own_cache_marks(&model, &price, Tokens(4_000)), CacheMarks::Short, "OpenAI needs no marks");
        assert_eq!(own_cache_marks(&model, &price, Tokens(1_023)), CacheMarks::None, "too short to be cached");
        let cheap_writes = PriceList::new(vec![Price { cache_write: Some(MicrosPerMillion(1)), ..tier(0, 100) }]);
        assert_eq!(max_cost(&model, &cheap_writes.unwrap(), 4_000, 5).0, 4_000 * 100);
        let no_writes = PriceList::new(vec![Price { cache_write: None, ..tier(0, 100) }]).unwrap();
        assert_eq!(own_cache_marks(&model, &no_writes, Tokens(4_000)), CacheMarks::None);
    }
}

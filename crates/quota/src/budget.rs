//! Spend budgets: what all users together may cost in 24 hours, globally and per model, and what the demo on the site may cost.

use crate::key_caps::KeyCaps;
use domain::{ModelName, Picos, Tokens};
use limits::End;

/// A spend budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Budget {
    /// All models.
    Global,
    /// One model.
    Model(ModelName),
    /// The demo on the site.
    Demo,
}

/// Spend caps for any 24 hours. Passed with each turn, so that a changed cap applies to the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Global cap over all users.
    pub global: Option<Picos>,
    /// Caps of the requested model and its fallback, over all users.
    pub models: Vec<(ModelName, Picos)>,
    /// Cap of the demo on the site; `None` for the turns of users.
    pub demo: Option<Picos>,
    /// The API key of the call, with its caps; `None` for the chat.
    pub key: Option<KeyCaps>,
}

impl Caps {
    /// The budgets that have a cap, with the cap in nano-dollars.
    pub(crate) fn budgets(&self) -> Vec<(Budget, u64)> {
        let global = self.global.map(|cap| (Budget::Global, nanos(cap)));
        let models = self.models.iter().map(|(model, cap)| (Budget::Model(model.clone()), nanos(*cap)));
        let demo = self.demo.map(|cap| (Budget::Demo, nanos(cap)));
        global.into_iter().chain(models).chain(demo).collect()
    }
}

/// The usage and cost of a turn that has ended.
#[derive(Debug)]
pub struct Spent {
    /// Tokens as counted against plan limits.
    pub tokens: Tokens,
    /// Cost of the calls by model. Most turns have one call.
    pub costs: Vec<(ModelName, Picos)>,
}

impl Spent {
    /// Creates the usage of a turn with one call.
    #[must_use]
    pub fn on(tokens: Tokens, model: ModelName, cost: Picos) -> Self {
        Self { tokens, costs: vec![(model, cost)] }
    }

    /// Returns the cost of all calls.
    pub(crate) fn cost(&self) -> Picos {
        self.costs.iter().fold(Picos::ZERO, |sum, (_, cost)| sum.plus(*cost))
    }

    /// Returns how to end a budget's hold: settled with the turn's cost, or released if none of the budget's models was called. A turn of a user
    /// has no hold in the demo's budget.
    pub(crate) fn end(&self, budget: &Budget) -> End {
        let counts = |model: &ModelName| match budget {
            Budget::Global | Budget::Demo => true,
            Budget::Model(name) => name == model,
        };
        let costs = self.costs.iter().filter(|(model, _)| counts(model)).map(|(_, cost)| *cost);
        costs.reduce(Picos::plus).map_or(End::Release, |cost| End::Settle(nanos(cost)))
    }
}

/// Converts to nano-dollars, rounded up, so that a budget never counts less than was spent.
pub(crate) fn nanos(amount: Picos) -> u64 {
    u64::try_from(amount.0).unwrap_or(0).div_ceil(1_000)
}

//! Models and their prices.

use crate::{MicrosPerMillion, ModelPriceId, Picos, Tokens, Usage};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A model's name, as its provider's API knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelName(pub String);

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for ModelName {
    fn from(name: String) -> Self {
        Self(name)
    }
}

/// Whose wire format a model is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI chat completions, and everything that speaks them.
    #[serde(rename = "openai")]
    OpenAi,
    /// Built in: no network, no key.
    Demo,
}

impl Provider {
    /// As the `model` table writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::Demo => "demo",
        }
    }
}

impl FromStr for Provider {
    type Err = UnknownProvider;
    fn from_str(text: &str) -> Result<Self, UnknownProvider> {
        [Self::Anthropic, Self::OpenAi, Self::Demo]
            .into_iter()
            .find(|provider| provider.as_str() == text)
            .ok_or_else(|| UnknownProvider(text.to_owned()))
    }
}

/// A provider whose wire format is not spoken here.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not one of: anthropic, openai, demo")]
pub struct UnknownProvider(pub String);

/// A model that users may be offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// The provider's name for it.
    pub name: ModelName,
    /// The name users read.
    pub label: String,
    /// Whose wire format.
    pub provider: Provider,
    /// Where it is served, when not at the provider's usual address.
    pub base_url: Option<String>,
    /// Tokens of prompt and answer together.
    pub context: Tokens,
    /// Tokens of one answer.
    pub max_output: Tokens,
    /// Who answers where this one can't be reached.
    pub fallback: Option<ModelName>,
    /// After how many milliseconds of silence the fallback is asked as well; both may be billed. None never hedges.
    pub hedge_after_ms: Option<u32>,
    /// Its input tokens per thousand of ours, learned from what its provider told; none while too little is known.
    pub input_permille: Option<u64>,
}

/// One tier of a model's price, in force from a date on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The row that a ledger row remembers.
    pub id: ModelPriceId,
    /// Holds for prompts larger than this; 0 for the base tier.
    pub above: Tokens,
    /// Uncached input.
    pub input: MicrosPerMillion,
    /// Input read from cache; where the provider has no such price, `input` holds.
    pub cache_read: Option<MicrosPerMillion>,
    /// Input written to cache; where the provider has no such price, `input` holds.
    pub cache_write: Option<MicrosPerMillion>,
    /// Output, reasoning included.
    pub output: MicrosPerMillion,
}

impl Price {
    /// What a usage costs in this tier, exactly.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Picos {
        self.input
            .of(usage.input.0)
            .plus(self.cache_read.unwrap_or(self.input).of(usage.cache_read.0))
            .plus(self.cache_write.unwrap_or(self.input).of(usage.cache_write.0))
            .plus(self.output.of(usage.output.0))
    }
}

/// A model's price in force: at least a base tier. A model without one is not for sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceList(Vec<Price>);

impl PriceList {
    /// None unless there is a base tier.
    #[must_use]
    pub fn new(mut tiers: Vec<Price>) -> Option<Self> {
        tiers.sort_by_key(|tier| tier.above);
        tiers.first().is_some_and(|base| base.above == Tokens(0)).then_some(Self(tiers))
    }

    /// The tier for a prompt of this size.
    #[must_use]
    pub fn tier(&self, prompt: Tokens) -> &Price {
        let at = self.0.partition_point(|tier| tier.above == Tokens(0) || tier.above < prompt);
        &self.0[at.saturating_sub(1)]
    }

    /// The tier and the exact cost of a usage.
    #[must_use]
    pub fn price(&self, usage: &Usage) -> (ModelPriceId, Picos) {
        let tier = self.tier(usage.prompt());
        (tier.id, tier.cost(usage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn tier(above: u64, input: i64, output: i64) -> Price {
        Price {
            id: ModelPriceId::from(Uuid::new_v4()),
            above: Tokens(above),
            input: MicrosPerMillion(input),
            cache_read: Some(MicrosPerMillion(input / 10)),
            cache_write: None,
            output: MicrosPerMillion(output),
        }
    }

    #[test]
    fn a_list_needs_a_base_tier_and_picks_by_prompt() {
        assert_eq!(PriceList::new(vec![tier(272_000, 2, 2)]), None);
        let list = PriceList::new(vec![tier(272_000, 5_000_000, 1), tier(0, 2_500_000, 1)]).unwrap();
        for (prompt, input) in [(0, 2_500_000), (272_000, 2_500_000), (272_001, 5_000_000)] {
            assert_eq!(list.tier(Tokens(prompt)).input, MicrosPerMillion(input), "{prompt}");
        }
    }

    proptest! {
        /// Field notes 26 and 27: four kinds with four prices, and reasoning is never added on top of output.
        #[test]
        fn each_kind_is_priced_once(input in 0u64..2_000_000, read in 0u64..2_000_000, write in 0u64..2_000_000, output in 0u64..200_000, part in 0u64..200_000) {
            let price = tier(0, 3_000_000, 15_000_000);
            let usage = Usage {
                input: Tokens(input), cache_read: Tokens(read), cache_write: Tokens(write),
                output: Tokens(output), reasoning: Tokens(part.min(output)),
            };
            let oracle = i128::from(input) * 3_000_000 + i128::from(read) * 300_000
                + i128::from(write) * 3_000_000 + i128::from(output) * 15_000_000;
            prop_assert_eq!(i128::from(price.cost(&usage).0), oracle);
        }
    }
}

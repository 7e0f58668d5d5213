//! Models and their prices.

use crate::{MicrosPerMillion, ModelPriceId, Picos, Tokens, Usage};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use time::Date;

/// A model's name in its provider's API.
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

/// A provider's name: the key of its row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProviderName(pub String);

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The wire format of a provider's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireFormat {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI chat completions, and all compatible APIs.
    #[serde(rename = "openai")]
    OpenAi,
    /// Built in; needs no network and no key.
    Demo,
}

/// An LLM provider: an API endpoint, and how it is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// The key of its row, such as `openrouter`.
    pub name: ProviderName,
    /// The display name.
    pub label: String,
    /// The wire format of its API.
    pub wire_format: WireFormat,
    /// The base URL; `None` is the wire format's default.
    pub base_url: Option<String>,
    /// Name of the environment variable that holds its API key; `None` sends no key. It ends in `_API_KEY`.
    pub key_variable: Option<String>,
    /// Maximum time to connect, in milliseconds; `None` is `PROVIDER_CONNECT_TIMEOUT_MS`.
    pub connect_timeout_ms: Option<u32>,
    /// Maximum time to the response head, in milliseconds; `None` is `PROVIDER_FIRST_BYTE_TIMEOUT_MS`.
    pub first_byte_timeout_ms: Option<u32>,
    /// Maximum silence within a response, in milliseconds; `None` is `PROVIDER_IDLE_TIMEOUT_MS`.
    pub idle_timeout_ms: Option<u32>,
    /// Maximum number of calls at once per server; `None` is unlimited.
    pub max_in_flight: Option<u32>,
}

/// The request field that limits a response's length. Servers accept one name and may reject the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputLimit {
    /// `max_tokens`: Anthropic, and most OpenAI-compatible servers.
    MaxTokens,
    /// `max_completion_tokens`: OpenAI's own API.
    MaxCompletionTokens,
}

/// Whether a model reasons before it answers. Reasoning tokens are billed as output, also where they aren't streamed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thinking {
    /// Never.
    #[default]
    None,
    /// It may.
    Optional,
    /// Always.
    Always,
}

/// Implements `ALL`, `as_str` and `FromStr` for an enum whose variants have fixed names. A new variant doesn't compile without its name.
macro_rules! names {
    ($type:ident, $error:literal, $($variant:ident => $name:literal),+) => {
        impl $type {
            /// All variants, in the order of their names.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// Returns the name used in the database, in forms and in JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;
            fn from_str(text: &str) -> Result<Self, UnknownName> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(UnknownName { name: text.to_owned(), expected: $error }),
                }
            }
        }
    };
}

pub(crate) use names;

names!(WireFormat, "anthropic, openai, demo", Anthropic => "anthropic", OpenAi => "openai", Demo => "demo");
names!(OutputLimit, "max_tokens, max_completion_tokens", MaxTokens => "max_tokens", MaxCompletionTokens => "max_completion_tokens");
names!(Thinking, "none, optional, always", None => "none", Optional => "optional", Always => "always");

/// A name that this release doesn't support.
#[derive(Debug, thiserror::Error)]
#[error("{name} is not one of: {expected}")]
pub struct UnknownName {
    /// The name.
    pub name: String,
    /// The known names.
    pub expected: &'static str,
}

/// A model that can be offered to users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// The model's name in its provider's API.
    pub name: ModelName,
    /// The display name.
    pub label: String,
    /// The provider that serves it.
    pub provider: Provider,
    /// Maximum tokens of prompt and response together.
    pub context: Tokens,
    /// Maximum tokens of one response.
    pub max_output: Tokens,
    /// The model that responds if this one can't be reached.
    pub fallback: Option<ModelName>,
    /// Milliseconds of silence after which the fallback is called as well; both calls may be billed. `None` disables hedging.
    pub hedge_after_ms: Option<u32>,
    /// Its tokens per thousand tokens of our count, learned from the usage that its provider reported; `None` while there is too little
    /// data.
    pub input_permille: Option<u64>,
    /// The request field that limits its output; `None` until it is set or learned from the first refusal.
    pub output_limit: Option<OutputLimit>,
    /// Whether it reasons before it answers.
    pub thinking: Thinking,
    /// Whether it reads images.
    pub takes_images: bool,
    /// The reasoning efforts that can be requested, lowest first; empty if it has no such setting.
    pub efforts: Vec<String>,
    /// Smallest prompt that its provider caches at an explicit breakpoint; `None` if it has no explicit breakpoints.
    pub min_cacheable: Option<Tokens>,
    /// Maximum time to the response head, in milliseconds; `None` is the provider's.
    pub first_byte_timeout_ms: Option<u32>,
    /// Maximum silence within a response, in milliseconds; `None` is the provider's.
    pub idle_timeout_ms: Option<u32>,
    /// The day on which its provider switches it off, if announced.
    pub ends_at: Option<Date>,
}

/// One tier of a model's price, effective from a date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The id of the price row, which ledger rows refer to.
    pub id: ModelPriceId,
    /// Applies to prompts larger than this; 0 for the base tier.
    pub above: Tokens,
    /// Price of uncached input.
    pub input: MicrosPerMillion,
    /// Price of input read from the cache; if the provider has no such price, `input` applies.
    pub cache_read: Option<MicrosPerMillion>,
    /// Price of input written to the cache; if the provider has no such price, `input` applies.
    pub cache_write: Option<MicrosPerMillion>,
    /// Price of input written to the cache with the longer lifetime; if the provider has no such price, `cache_write` applies.
    pub cache_write_long: Option<MicrosPerMillion>,
    /// Price of output, including reasoning.
    pub output: MicrosPerMillion,
}

impl Price {
    /// Returns the exact cost of a usage in this tier.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Picos {
        let write = self.cache_write.unwrap_or(self.input);
        self.input
            .of(usage.input.0)
            .plus(self.cache_read.unwrap_or(self.input).of(usage.cache_read.0))
            .plus(write.of(usage.cache_write.0.saturating_sub(usage.cache_write_long.0)))
            .plus(self.cache_write_long.unwrap_or(write).of(usage.cache_write_long.0.min(usage.cache_write.0)))
            .plus(self.output.of(usage.output.0))
    }
}

/// A model's effective price, with at least a base tier. A model without a price isn't offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceList(Vec<Price>);

impl PriceList {
    /// Creates a price list. Returns `None` if there is no base tier.
    #[must_use]
    pub fn new(mut tiers: Vec<Price>) -> Option<Self> {
        tiers.sort_by_key(|tier| tier.above);
        tiers.first().is_some_and(|base| base.above == Tokens(0)).then_some(Self(tiers))
    }

    /// Returns the tier for a prompt of this size.
    #[must_use]
    pub fn tier(&self, prompt: Tokens) -> &Price {
        let at = self.0.partition_point(|tier| tier.above == Tokens(0) || tier.above < prompt);
        &self.0[at.saturating_sub(1)]
    }

    /// Returns the id of the tier and the exact cost of a usage.
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
            cache_write_long: Some(MicrosPerMillion(input * 2)),
            output: MicrosPerMillion(output),
        }
    }

    #[test]
    fn price_list_needs_a_base_tier_and_selects_by_prompt() {
        assert_eq!(PriceList::new(vec![tier(272_000, 2, 2)]), None);
        let list = PriceList::new(vec![tier(272_000, 5_000_000, 1), tier(0, 2_500_000, 1)]).unwrap();
        for (prompt, input) in [(0, 2_500_000), (272_000, 2_500_000), (272_001, 5_000_000)] {
            assert_eq!(list.tier(Tokens(prompt)).input, MicrosPerMillion(input), "{prompt}");
        }
    }

    proptest! {
        /// Field notes 26, 27 and 55: each kind of token has its own price, and reasoning is never added on top of output.
        #[test]
        fn each_kind_of_token_is_priced_once(
            input in 0u64..2_000_000, read in 0u64..2_000_000, write in 0u64..2_000_000, long in 0u64..2_000_000,
            output in 0u64..200_000, part in 0u64..200_000,
        ) {
            let price = tier(0, 3_000_000, 15_000_000);
            let usage = Usage {
                input: Tokens(input), cache_read: Tokens(read), cache_write: Tokens(write + long), cache_write_long: Tokens(long),
                output: Tokens(output), reasoning: Tokens(part.min(output)),
            };
            let oracle = i128::from(input) * 3_000_000 + i128::from(read) * 300_000
                + i128::from(write) * 3_000_000 + i128::from(long) * 6_000_000 + i128::from(output) * 15_000_000;
            prop_assert_eq!(i128::from(price.cost(&usage).0), oracle);
        }
    }
}

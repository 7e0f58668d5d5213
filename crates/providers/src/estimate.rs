//! How many tokens a prompt will be, before it is sent: high by little. Lengths are counted from what we send, never
//! told by the client.

use domain::{PromptMessage, Tokens, Vendor};

/// What chat completions add around each message and once at the end (OpenAI's cookbook on counting tokens).
const OPENAI_PER_MESSAGE: u64 = 4;
const OPENAI_ONCE: u64 = 3;

/// Tokens of a text in OpenAI's o200k vocabulary; a lower bound for other vendors'.
#[must_use]
pub fn text(text: &str) -> Tokens {
    Tokens(u64::try_from(bpe_openai::o200k_base().count(text)).unwrap_or(u64::MAX))
}

/// Tokens of a whole prompt. Exact for OpenAI's own models; for Anthropic, whose vocabulary isn't public, the o200k
/// count and two fifths more, a bound that is not measured here.
#[must_use]
pub fn prompt(vendor: Vendor, system: &str, messages: &[PromptMessage]) -> Tokens {
    let words: Tokens = std::iter::once(system).chain(messages.iter().map(|m| m.text.as_str())).map(text).sum();
    let parts = u64::try_from(messages.len()).unwrap_or(u64::MAX).saturating_add(1);
    let framing = OPENAI_ONCE + OPENAI_PER_MESSAGE.saturating_mul(parts);
    match vendor {
        Vendor::OpenAi | Vendor::Demo => words + Tokens(framing),
        Vendor::Anthropic => Tokens(words.0.saturating_mul(7).div_ceil(5)) + Tokens(2 * framing),
    }
}

/// Tokens of an answer as far as it came, where the vendor told nothing: what was streamed, never less.
#[must_use]
pub fn answer(vendor: Vendor, said: &str) -> Tokens {
    match vendor {
        Vendor::OpenAi | Vendor::Demo => text(said),
        Vendor::Anthropic => Tokens(text(said).0.saturating_mul(7).div_ceil(5)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Role;
    use proptest::prelude::*;

    fn message(text: &str) -> PromptMessage {
        PromptMessage { role: Role::User, text: text.to_owned() }
    }

    #[test]
    fn counts_are_those_of_the_vocabulary() {
        assert_eq!(text(""), Tokens(0));
        assert_eq!(text("hello world"), Tokens(2));
        assert_eq!(prompt(Vendor::OpenAi, "", &[message("hello world")]), Tokens(2 + 8 + 3));
    }

    proptest! {
        #[test]
        fn more_words_never_count_less(a in ".{0,200}", b in ".{0,200}") {
            for vendor in [Vendor::OpenAi, Vendor::Anthropic] {
                let one = prompt(vendor, "", &[message(&a)]);
                let two = prompt(vendor, "", &[message(&a), message(&b)]);
                prop_assert!(two > one);
            }
        }
    }
}

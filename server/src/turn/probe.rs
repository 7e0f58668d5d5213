//! A test call of a model: one short request that shows whether provider, key and model work, and what an answer costs. No user requests it, so
//! it is neither admitted nor in the ledger.

use super::endpoint::whole_ms;
use super::providers::{NotOpened, Providers};
use crate::Config;
use anyhow::{anyhow, bail};
use domain::{Model, OutputLimit, Picos, PriceList, PromptMessage, Role, Tokens, Usage, UsageSource};
use futures::StreamExt as _;
use providers::{Chunk, estimate};
use tokio::time::Instant;

/// The request.
const QUESTION: &str = "Reply with the word ok.";
/// Maximum output of the request.
const MAX_OUTPUT: Tokens = Tokens(16);

/// The response to a test call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The text; may be empty if the model reasoned until the output limit.
    pub text: String,
    /// Milliseconds from sending the request to the first token of text or reasoning; `None` if there was none.
    pub ttft_ms: Option<u64>,
    /// Milliseconds from sending the request to the end of the response.
    pub latency_ms: u64,
    /// The usage.
    pub usage: Usage,
    /// Whether the provider reported the usage or we estimated it.
    pub source: UsageSource,
    /// The cost of the usage; `None` if the model has no price in force.
    pub cost: Option<Picos>,
    /// The request field that the server accepted for the output limit, if this call had to find it out.
    pub learned: Option<OutputLimit>,
}

/// Calls a model once, with the keys of the configuration and without a fallback.
///
/// # Errors
/// Returns an error if the provider refuses the call or its response is interrupted.
pub async fn probe(config: &Config, model: &Model, price: Option<&PriceList>) -> anyhow::Result<Probe> {
    let messages = [PromptMessage::text(Role::User, QUESTION)];
    let sent = Instant::now();
    let opened = match Providers::new(config).probe(model, &messages, MAX_OUTPUT).await {
        Ok(opened) => opened,
        Err(NotOpened::Provider(error)) => return Err(error.into()),
        Err(other) => return Err(anyhow!("the call was not made: {other:?}")),
    };
    let mut chunks = opened.chunks;
    let (mut text, mut reasoning) = (String::new(), String::new());
    let (mut ttft_ms, mut reported, mut has_ended, mut words) = (None, None, false, 0);
    while let Some(chunk) = chunks.next().await {
        match chunk? {
            Chunk::Text(part) => text.push_str(&part),
            Chunk::Reasoning(part) => reasoning.push_str(&part),
            Chunk::Usage(usage) => {
                reported = Some(usage);
                continue;
            }
            Chunk::End(_) => {
                has_ended = true;
                continue;
            }
            Chunk::Id(_) | Chunk::Event(_) | Chunk::ToolCall { .. } | Chunk::ToolArguments { .. } => continue,
        }
        words += 1;
        ttft_ms.get_or_insert_with(|| whole_ms(sent.elapsed()));
    }
    if !has_ended {
        bail!("the response was interrupted");
    }
    let (usage, source) = match reported.filter(|reported| reported.is_consistent) {
        Some(reported) => (reported.usage, UsageSource::Exact),
        None => {
            let reasoned = estimate::answer(model, &reasoning, 0);
            let usage = Usage {
                input: estimate::prompt(model, domain::brand::SYSTEM_PROMPT, &messages).estimated,
                output: (estimate::answer(model, &text, 0) + reasoned).max(Tokens(words)),
                reasoning: reasoned,
                ..Usage::default()
            };
            (usage, UsageSource::Estimated)
        }
    };
    Ok(Probe {
        text,
        ttft_ms,
        latency_ms: whole_ms(sent.elapsed()),
        usage,
        source,
        cost: price.map(|price| price.price(&usage).1),
        learned: opened.learned,
    })
}

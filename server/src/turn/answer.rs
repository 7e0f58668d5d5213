//! The response of a turn as far as it has arrived, and how it ended.

use super::providers::broken_problem;
use domain::{Outcome, Problem, Tokens, TurnEvent, Usage};
use providers::{Chunk, End, ProviderError};

/// Upper bound of a plausible token count. Larger counts from a provider are clamped to it.
const MAX_TOKENS: Tokens = Tokens(1 << 24);

/// The response received so far.
#[derive(Default)]
pub(super) struct Answer {
    pub text: String,
    pub reasoning: String,
    /// The provider's latest token counts.
    pub usage: Option<Usage>,
    /// The provider's id of the call.
    pub request_id: Option<String>,
    /// Milliseconds from sending the request to the first text or reasoning.
    pub ttft_ms: Option<i32>,
    /// How the response ended; `None` while it is in progress.
    pub ending: Option<Ending>,
}

/// How a response ended.
pub(super) enum Ending {
    /// The provider completed it, so its latest token counts are final.
    Ended(Outcome),
    /// The user stopped it.
    Stopped,
    /// It was cut off at the granted length.
    Cut,
    /// The provider's stream broke off.
    Broke(ProviderError),
    /// This server canceled it, or another server considered it dead and ended it.
    Canceled(Problem),
}

impl Answer {
    /// Processes one chunk. Text and reasoning are appended to `events`; chunks that arrived together are combined into one event.
    pub fn absorb(&mut self, chunk: Result<Chunk, ProviderError>, events: &mut Vec<TurnEvent>) {
        match chunk {
            Ok(Chunk::Id(id)) => self.request_id = Some(id),
            Ok(Chunk::Usage(usage)) => self.usage = Some(clamped(usage)),
            Ok(Chunk::Text(text)) => {
                let text = storable(text);
                self.text.push_str(&text);
                join(events, TurnEvent::Delta { text });
            }
            Ok(Chunk::Reasoning(text)) => {
                let text = storable(text);
                self.reasoning.push_str(&text);
                join(events, TurnEvent::Reasoning { text });
            }
            Ok(Chunk::End(End::Complete)) => self.ending = Some(Ending::Ended(Outcome::Finished)),
            Ok(Chunk::End(End::Length)) => self.ending = Some(Ending::Ended(Outcome::Truncated)),
            Err(error) => self.ending = Some(Ending::Broke(error)),
        }
    }

    pub fn outcome(&self) -> Outcome {
        match &self.ending {
            Some(Ending::Ended(outcome)) => *outcome,
            Some(Ending::Stopped) => Outcome::Stopped,
            Some(Ending::Cut) => Outcome::Truncated,
            Some(Ending::Broke(_) | Ending::Canceled(_)) | None => Outcome::Failed,
        }
    }

    pub fn provider_failed(&self) -> bool {
        matches!(self.ending, Some(Ending::Broke(_)))
    }

    /// Returns the problem shown to the user, or `None` if the response didn't fail.
    pub fn problem(&self) -> Option<Problem> {
        match &self.ending {
            Some(Ending::Broke(error)) => Some(broken_problem(error, !self.text.is_empty())),
            Some(Ending::Canceled(problem)) => Some(problem.clone()),
            None => Some(Problem::model_failed()),
            Some(_) => None,
        }
    }
}

/// Appends an event, or its text to a preceding event of the same kind.
fn join(events: &mut Vec<TurnEvent>, event: TurnEvent) {
    match (events.last_mut(), event) {
        (Some(TurnEvent::Delta { text }), TurnEvent::Delta { text: more })
        | (Some(TurnEvent::Reasoning { text }), TurnEvent::Reasoning { text: more }) => text.push_str(&more),
        (_, event) => events.push(event),
    }
}

/// Clamps a provider's token counts to plausible values.
fn clamped(usage: Usage) -> Usage {
    Usage {
        input: usage.input.min(MAX_TOKENS),
        cache_read: usage.cache_read.min(MAX_TOKENS),
        cache_write: usage.cache_write.min(MAX_TOKENS),
        output: usage.output.min(MAX_TOKENS),
        reasoning: usage.reasoning.min(usage.output).min(MAX_TOKENS),
    }
}

/// Removes NUL characters, which Postgres can't store.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "") } else { text }
}

//! The part of a turn's response that has arrived, and how it ended.

use super::receipt::Receipt;
use crate::failure::internal;
use domain::{MessageStatus, Outcome, Problem, TurnEvent};
use providers::{Chunk, End, ProviderError};

/// The response received so far.
#[derive(Default)]
pub(super) struct Answer {
    pub text: String,
    pub reasoning: String,
    /// What the provider has reported, and how many chunks it has sent.
    pub receipt: Receipt,
    /// Milliseconds from sending the request to the first text or reasoning.
    pub ttft_ms: Option<i32>,
    /// How the response ended; `None` while it is in progress.
    pub ending: Option<Ending>,
}

/// How a response ended.
pub(super) enum Ending {
    /// The provider completed it.
    Ended(Outcome),
    /// The provider completed it with a call of a tool, although none was offered.
    ToolCall,
    /// The user stopped it.
    Stopped,
    /// It was cut off at the granted length.
    Cut,
    /// The provider's stream broke off.
    Broke(ProviderError),
    /// This server canceled it, or another server found its lease expired and ended it.
    Canceled(Problem),
}

impl Answer {
    /// Processes one chunk. Text and reasoning are appended to `events`; chunks that arrived together are combined into one event.
    pub fn apply_chunk(&mut self, chunk: Result<Chunk, ProviderError>, events: &mut Vec<TurnEvent>) {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                self.ending = Some(Ending::Broke(error));
                return;
            }
        };
        self.receipt.note(&chunk);
        match chunk {
            Chunk::Text(text) => {
                let text = storable(text);
                self.text.push_str(&text);
                TurnEvent::Delta { text }.join_to(events);
            }
            Chunk::Reasoning(text) => {
                let text = storable(text);
                self.reasoning.push_str(&text);
                TurnEvent::Reasoning { text }.join_to(events);
            }
            Chunk::End(end) => self.ending = Some(ending(end)),
            Chunk::Id(_) | Chunk::Usage(_) | Chunk::ToolCall { .. } | Chunk::ToolArguments { .. } | Chunk::Event(_) => {
            }
        }
    }

    /// Returns the outcome for the ledger.
    pub fn outcome(&self) -> Outcome {
        match &self.ending {
            Some(Ending::Ended(outcome)) => *outcome,
            Some(Ending::Stopped) => Outcome::Stopped,
            Some(Ending::Cut) => Outcome::Truncated,
            Some(Ending::ToolCall | Ending::Broke(_) | Ending::Canceled(_)) | None => Outcome::Failed,
        }
    }

    /// Returns the status of the stored message.
    pub fn message_status(&self) -> MessageStatus {
        if matches!(self.ending, Some(Ending::ToolCall)) {
            return MessageStatus::ToolCall;
        }
        self.outcome().into()
    }

    /// Returns whether the provider completed the response.
    pub fn is_complete(&self) -> bool {
        matches!(self.ending, Some(Ending::Ended(_) | Ending::ToolCall))
    }

    pub fn provider_failed(&self) -> bool {
        matches!(self.ending, Some(Ending::Broke(_)))
    }

    /// Returns the problem shown to the user, or `None` if the response didn't fail.
    pub fn problem(&self) -> Option<Problem> {
        match &self.ending {
            Some(Ending::Broke(error)) => Some(broken_problem(error, !self.text.is_empty())),
            Some(Ending::ToolCall) => Some(Problem::tool_call()),
            Some(Ending::Canceled(problem)) => Some(problem.clone()),
            None => Some(Problem::model_failed()),
            Some(Ending::Ended(_) | Ending::Stopped | Ending::Cut) => None,
        }
    }
}

fn ending(end: End) -> Ending {
    match end {
        End::Complete => Ending::Ended(Outcome::Finished),
        End::Length => Ending::Ended(Outcome::Truncated),
        End::Refused => Ending::Ended(Outcome::Refused),
        End::Filtered => Ending::Ended(Outcome::Filtered),
        End::ToolCall => Ending::ToolCall,
    }
}

/// Returns the problem shown to the user if a stream broke off. `has_text` is whether any text was received.
fn broken_problem(error: &ProviderError, has_text: bool) -> Problem {
    let problem = if has_text { Problem::model_interrupted() } else { Problem::model_failed() };
    Problem { incident: internal(error).incident, ..problem }
}

/// Removes NUL characters, which Postgres can't store.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field note 51: each way of ending has its own outcome and message status.
    #[test]
    fn every_end_has_its_own_status() {
        for (chunk, outcome, status, has_problem) in [
            (Ok(Chunk::End(End::Complete)), Outcome::Finished, MessageStatus::Finished, false),
            (Ok(Chunk::End(End::Length)), Outcome::Truncated, MessageStatus::Truncated, false),
            (Ok(Chunk::End(End::Refused)), Outcome::Refused, MessageStatus::Refused, false),
            (Ok(Chunk::End(End::Filtered)), Outcome::Filtered, MessageStatus::Filtered, false),
            (Ok(Chunk::End(End::ToolCall)), Outcome::Failed, MessageStatus::ToolCall, true),
            (Err(ProviderError::StreamFailed("cut".into())), Outcome::Failed, MessageStatus::Failed, true),
        ] {
            let mut answer = Answer::default();
            answer.apply_chunk(chunk, &mut Vec::new());
            assert_eq!((answer.outcome(), answer.message_status()), (outcome, status));
            assert_eq!(answer.problem().is_some(), has_problem, "{status:?}");
            assert_eq!(answer.provider_failed(), !answer.is_complete());
        }
    }

    #[test]
    fn chunks_are_joined_and_counted_without_nul_characters() {
        let (mut answer, mut events) = (Answer::default(), Vec::new());
        for text in ["", "\0", "a\0", "b", ""] {
            answer.apply_chunk(Ok(Chunk::Text(text.into())), &mut events);
        }
        answer.apply_chunk(Ok(Chunk::Reasoning("c".into())), &mut events);
        assert_eq!(events, [TurnEvent::Delta { text: "ab".into() }, TurnEvent::Reasoning { text: "c".into() }]);
        assert_eq!((answer.receipt.text_chunks, answer.receipt.reasoning_chunks), (3, 1));
    }
}

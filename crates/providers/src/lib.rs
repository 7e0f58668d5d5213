//! LLM providers: three wire formats, one stream of chunks.

mod anthropic;
mod demo;
pub mod estimate;
mod http;
mod openai;

pub use anthropic::Anthropic;
pub use demo::Demo;
pub use http::Patience;
pub use openai::OpenAi;

use domain::{ModelName, PromptMessage, Tokens, Usage};
use futures::Stream;
use std::pin::Pin;

/// What is asked of a model.
pub struct Ask<'a> {
    /// Which.
    pub model: &'a ModelName,
    /// Said ahead of the conversation.
    pub system: &'a str,
    /// The conversation, the user's new words last.
    pub messages: &'a [PromptMessage],
    /// The longest answer it may give.
    pub max_output: Tokens,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// The provider's name for the call.
    Id(String),
    /// Words.
    Text(String),
    /// The model thinking aloud.
    Reasoning(String),
    /// What was used so far; the last one counts.
    Usage(Usage),
    /// The provider's own end; a stream without it broke.
    End(End),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The model was done.
    Done,
    /// It reached `max_output`.
    Length,
}

/// Why a model gave no answer, or not all of it. The text is for our log; users are told something kinder.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// No connection: nothing was sent.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// No head of an answer in time. It may be working on one, and bill it.
    #[error("silent for too long")]
    Silent,
    /// Busy: come back later.
    #[error("busy: status {status}")]
    Busy {
        /// The HTTP status.
        status: u16,
        /// What its `Retry-After` said.
        retry_after_ms: Option<u64>,
    },
    /// It won't, and asking again won't help.
    #[error("refused: status {status}, {kind}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The provider's word for it; never its prose, which may quote the prompt.
        kind: String,
    },
    /// The stream broke, fell silent or made no sense.
    #[error("broke off: {0}")]
    Broke(String),
}

impl ProviderError {
    /// Whether it is worth asking again: nothing was accepted, and it may be otherwise in a moment.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Busy { .. })
    }

    /// Whether the provider may have accepted the call all the same, and bills its prompt.
    #[must_use]
    pub fn may_bill(&self) -> bool {
        matches!(self, Self::Silent | Self::Broke(_))
    }

    /// Whether the provider is out of order, as opposed to refusing this one call.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Silent | Self::Broke(_) => true,
            Self::Busy { status, .. } => *status != 429,
            Self::Refused { .. } => false,
        }
    }
}

/// The pieces of one answer.
pub type Chunks = Pin<Box<dyn Stream<Item = Result<Chunk, ProviderError>> + Send>>;

/// Whoever answers.
#[async_trait::async_trait]
pub trait Provider: Send + Sync {
    /// Asks; ready once the provider has accepted, with the pieces to come. Dropping the stream cancels the call.
    async fn open(&self, ask: &Ask<'_>) -> Result<Chunks, ProviderError>;
}

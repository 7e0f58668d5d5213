//! Clients for LLM providers: Anthropic, OpenAI-compatible servers and the built-in demo, all read as one stream of chunks.

mod anthropic;
mod demo;
pub mod estimate;
mod http;
mod openai;

pub use anthropic::Anthropic;
pub use demo::Demo;
pub use http::Timeouts;
pub use openai::OpenAi;

use domain::{ModelName, PromptMessage, Tokens, Usage};
use futures::Stream;
use std::pin::Pin;

/// A request to a model.
pub struct ModelRequest<'a> {
    /// The model that is called.
    pub model: &'a ModelName,
    /// System prompt.
    pub system: &'a str,
    /// The conversation; the user's new message comes last.
    pub messages: &'a [PromptMessage],
    /// Maximum number of output tokens.
    pub max_output: Tokens,
}

/// One item of a response stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// The provider's id for the call.
    Id(String),
    /// Response text.
    Text(String),
    /// Reasoning text, separate from the response.
    Reasoning(String),
    /// Cumulative token usage; the last one of a stream is final.
    Usage(Usage),
    /// The end of the response as sent by the provider. A stream without it was interrupted.
    End(End),
}

/// Why a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The model finished.
    Complete,
    /// The response reached `max_output`, or the context window was full.
    Length,
}

/// Why a call failed, or why its response is incomplete. The text is for our log; users see a general message instead.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The connection failed; nothing was sent.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// No response head arrived in time. The provider may be processing the call, and may bill it.
    #[error("no response in time")]
    TimedOut,
    /// The provider is overloaded or limits our rate (429 or 5xx); retry later.
    #[error("busy: status {status}")]
    Busy {
        /// The HTTP status.
        status: u16,
        /// The `Retry-After` header in milliseconds, if it was sent in seconds.
        retry_after_ms: Option<u64>,
    },
    /// The provider rejected the request; retrying won't help.
    #[error("refused: status {status}, {kind}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The provider's error type; never its error message, which may quote the prompt.
        kind: String,
    },
    /// The stream was interrupted, went silent or couldn't be parsed.
    #[error("stream failed: {0}")]
    StreamFailed(String),
}

impl ProviderError {
    /// Whether a retry may succeed: the provider accepted nothing, and the cause may be temporary.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Busy { .. })
    }

    /// Whether the provider may have accepted the call despite the error, and may bill its prompt.
    #[must_use]
    pub fn may_be_billed(&self) -> bool {
        matches!(self, Self::TimedOut | Self::StreamFailed(_))
    }

    /// Whether the error indicates an outage of the provider, as opposed to a refusal of this call.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut | Self::StreamFailed(_) => true,
            Self::Busy { status, .. } => *status != 429,
            Self::Refused { .. } => false,
        }
    }
}

/// The chunks of one response.
pub type Chunks = Pin<Box<dyn Stream<Item = Result<Chunk, ProviderError>> + Send>>;

/// An LLM provider.
#[async_trait::async_trait]
pub trait Provider: Send + Sync {
    /// Sends a request and returns its response stream once the provider has accepted it. Dropping the stream cancels the call.
    async fn open(&self, request: &ModelRequest<'_>) -> Result<Chunks, ProviderError>;
}

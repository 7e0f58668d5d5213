//! Clients for LLM providers: Anthropic, OpenAI-compatible servers and the built-in demo, all read as one stream of chunks.
//!
//! # What is read
//! Servers differ from the documentation of the format that they claim, so both formats are read by these rules: unknown fields and unknown
//! events are ignored; null, and a value of an unexpected type, is treated as absent; a later zero never replaces a count. Only data that isn't
//! JSON fails a stream, after all chunks that came before it.
//!
//! A body goes through these modules: `http` (timeouts) → `decode`, `sniff` (what the body is) → `payload` (events, keep-alives) or `whole` (one
//! JSON body) → `completions` (with `openai_usage`, `tool_calls`) or `messages` → `think` (reasoning within text). `error` classifies what isn't
//! a response.
//!
//! # Callers of the API
//! Module [`api`] reads requests in three formats, builds the body for a model's wire format and writes the chunks back in the caller's format.
//!
//! # A server that sends something else
//! Add one more file: `fixtures/odd/NN-what-it-is.http`, the response as the server sent it, from the status line to the end of the body, with
//! LF as line ends and with `connection: close` in place of a length. `NN` is its number in `docs/failure-modes.md`; a name that contains
//! `anthropic` is in the Messages format. Then add its row with the expected result to the table in `src/tests/odd.rs`, whose test fails while
//! a file has none. Streams in the shapes of whole servers are in `fixtures/servers/`; `src/tests/servers.rs` splits, joins and truncates them.

mod anthropic;
pub mod api;
mod completions;
mod content;
mod decode;
mod demo;
mod error;
pub mod estimate;
mod http;
mod lenient;
mod messages;
mod openai;
mod openai_usage;
mod payload;
pub mod prompt;
mod reader;
mod sniff;
mod think;
mod tool_calls;
mod whole;

pub use anthropic::Anthropic;
pub use demo::Demo;
pub use http::Timeouts;
pub use openai::OpenAi;

use domain::{ModelName, OutputLimit, PromptMessage, Tokens, Usage};
use futures::Stream;
use serde_json::Value;
use std::pin::Pin;

/// A request to a model.
pub struct ModelRequest<'a> {
    /// The model that is called.
    pub model: &'a ModelName,
    /// System prompt.
    pub system: &'a str,
    /// The conversation; the user's new message comes last. See [`prompt::normalized`].
    pub messages: &'a [PromptMessage],
    /// Maximum number of output tokens.
    pub max_output: Tokens,
    /// The request field that carries `max_output`; with `None` the client tries the wire format's current name and, if the server
    /// rejects that name, the other one.
    pub output_limit: Option<OutputLimit>,
    /// The reasoning effort to request; `None` leaves it to the model.
    pub effort: Option<&'a str>,
    /// Whether to mark the system prompt and the last message as ends of a cacheable prefix, where the wire format has such marks.
    pub caches: bool,
    /// Timeouts of this call.
    pub timeouts: Timeouts,
    /// The body to send in place of one that is built from `system`, `messages` and `effort`; made by [`api::ApiRequest::body`]. The client
    /// sets its output limit. With a body, the response also has [`Chunk::Event`]s.
    pub raw: Option<&'a Value>,
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
    /// The beginning of a tool call. `index` counts the calls of a response from zero; `id` is empty if the provider sent none.
    ToolCall {
        /// The position of the call.
        index: u64,
        /// The provider's id of the call.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// A piece of a tool call's arguments, which are JSON once they are complete.
    ToolArguments {
        /// The position of the call.
        index: u64,
        /// The piece.
        json: String,
    },
    /// An event as the provider sent it, before the chunks that are read from it. Only in responses to a [`ModelRequest::raw`].
    Event(Value),
    /// Cumulative token usage; the last one of a stream is final.
    Usage(ReportedUsage),
    /// The end of the response as sent by the provider. A stream without it was interrupted.
    End(End),
}

/// Token counts as a provider reported them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportedUsage {
    /// The counts.
    pub usage: Usage,
    /// Whether the provider's numbers agree with each other. Otherwise they are a lower bound.
    pub is_consistent: bool,
}

/// Why a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The model finished.
    Complete,
    /// The response reached `max_output`, or the context window was full.
    Length,
    /// The model declined to answer.
    Refused,
    /// The provider's content filter stopped the response.
    Filtered,
    /// The model called a tool. In a chat no tool is offered.
    ToolCall,
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
        /// `Retry-After` in milliseconds, sent as seconds, fractions of seconds or a date.
        retry_after_ms: Option<u64>,
    },
    /// Our account at the provider has no credit left. Retrying won't help until the owner pays.
    #[error("out of credit: status {status}")]
    OutOfCredit {
        /// The HTTP status.
        status: u16,
    },
    /// The provider rejected our API key.
    #[error("API key rejected: status {status}")]
    KeyRejected {
        /// The HTTP status.
        status: u16,
    },
    /// The provider doesn't have the model, or our account may not use it.
    #[error("unknown model: status {status}")]
    UnknownModel {
        /// The HTTP status.
        status: u16,
    },
    /// The prompt exceeds the model's context window.
    #[error("prompt too long: status {status}")]
    TooLong {
        /// The HTTP status.
        status: u16,
        /// The prompt's tokens, if the provider named them.
        tokens: Option<u64>,
        /// The maximum, if the provider named it.
        max: Option<u64>,
    },
    /// The provider rejected the request; retrying won't help.
    #[error("refused: status {status}, {kind}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The provider's error type; never its error message, which may quote the prompt.
        kind: String,
    },
    /// The provider responded with status 200, but with an error, a web page or nothing instead of a response. It sent no output.
    #[error("no response despite status 200: {0}")]
    NotAResponse(String),
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

    /// Whether another model may be called in its place: the provider accepted nothing, and another one may.
    #[must_use]
    pub fn allows_fallback(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Busy { .. }
            | Self::OutOfCredit { .. }
            | Self::KeyRejected { .. }
            | Self::UnknownModel { .. }
            | Self::NotAResponse(_) => true,
            // A silent provider may be generating and bill it, so no second call is made.
            Self::TimedOut | Self::StreamFailed(_) | Self::TooLong { .. } | Self::Refused { .. } => false,
        }
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
            Self::Unreachable(_) | Self::TimedOut | Self::NotAResponse(_) | Self::StreamFailed(_) => true,
            Self::Busy { status, .. } => *status != 429,
            Self::OutOfCredit { .. }
            | Self::KeyRejected { .. }
            | Self::UnknownModel { .. }
            | Self::TooLong { .. }
            | Self::Refused { .. } => false,
        }
    }

    /// Whether every call to this provider fails until the owner fixes the cause: the circuit opens at once, and admins are alerted.
    #[must_use]
    pub fn needs_owner(&self) -> bool {
        matches!(self, Self::OutOfCredit { .. } | Self::KeyRejected { .. })
    }
}

/// The chunks of one response.
pub type Chunks = Pin<Box<dyn Stream<Item = Result<Chunk, ProviderError>> + Send>>;

/// A call that the provider has accepted and begun to answer.
pub struct Opened {
    /// The response. Dropping it cancels the call.
    pub chunks: Chunks,
    /// The request field that the server accepted for the output limit, if it was learned by this call.
    pub learned: Option<OutputLimit>,
}

/// A client for one provider.
#[async_trait::async_trait]
pub trait Provider: Send + Sync {
    /// Sends a request and returns once the first bytes of the response prove that it is one. An error in the first bytes is returned here,
    /// so that nothing of the call is shown.
    async fn open(&self, request: &ModelRequest<'_>) -> Result<Opened, ProviderError>;
}

#[cfg(test)]
mod tests;

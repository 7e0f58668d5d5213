//! The request and response formats of our API, built on the providers' wire formats.
//!
//! A request is read into [`ApiRequest`], which bounds it and refuses by name what would cost more than is reserved or keep state. Its body for a
//! model is the request itself where the model's provider has the same format, and otherwise a translation through
//! `conversation::Conversation`. [`ApiResponse`] writes a provider's chunks in the caller's format, as a stream or whole.
//!
//! # What is passed on, and what is translated
//! - Same format: all fields that `parse` knows are sent as they are, except the model's name, the output limit, and what only concerns us.
//!   Events are passed through with our ids and the usage of our ledger; blocks and deltas that a server left out are added,
//!   and tool calls are numbered in their order.
//! - Another format: text, images, tool definitions, calls and results, reasoning with its signature (to and from Anthropic), the choice of
//!   tools, parallel calls, stop sequences, sampling, effort, verbosity and structured output. Penalties, seeds and `top_k` are left out: they
//!   cost nothing and change no meaning. Of temperature and `top_p`, Anthropic gets one, no defaults, and none that it rejects for the model. `cache_control` of chat completions
//!   becomes Anthropic's, wherever `LiteLLM` accepts it. `check` refuses what can't be translated.
//! - Structured output: a strict JSON schema uses the other provider's structured output (`response_format`, `output_config.format`), if that
//!   provider accepts the schema as strict (`strict`). Another schema isn't strict for OpenAI, and becomes an instruction in the system prompt
//!   for Anthropic, which has no such schemas and no `json_object`. Tools are strict by the same rule; those of responses by default, as at OpenAI.
//! - Reasoning: in chat completions it is `reasoning_content`, and with Anthropic's signatures `thinking_blocks`, as `LiteLLM` names them. In
//!   responses it is a `reasoning` item, whose `encrypted_content` carries the signature.

mod body;
mod conversation;
mod count;
mod error;
mod fields;
mod format;
mod images;
mod parse;
mod request;
mod response;
mod strict;

pub use error::{InvalidRequest, error_body};
pub use format::ApiFormat;
pub use request::ApiRequest;
pub use response::ApiResponse;

#[cfg(test)]
mod tests;

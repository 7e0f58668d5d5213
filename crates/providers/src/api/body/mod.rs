//! Builds the body of a call: the request itself for a provider of the same format, otherwise a translation.

mod anthropic;
mod openai;
mod pass_on;

pub(crate) use anthropic::messages;
pub(crate) use openai::completions;
pub(crate) use pass_on::{completions as pass_on_completions, messages as pass_on_messages};

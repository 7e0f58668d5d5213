//! The wire formats, and how the provider counts text.

/// The wire format of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Anthropic Messages.
    Messages,
    /// OpenAI chat completions.
    Completions,
}

/// Counts the words of a text. Each is a token.
pub(crate) fn count_words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

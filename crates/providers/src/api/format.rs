//! The formats of the API.

/// The format of a caller's request and response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiFormat {
    /// OpenAI Chat Completions: <https://platform.openai.com/docs/api-reference/chat/create>
    ChatCompletions,
    /// OpenAI Responses, without state: <https://platform.openai.com/docs/api-reference/responses/create>
    Responses,
    /// Anthropic Messages: <https://docs.anthropic.com/en/api/messages>
    Messages,
}

//! Problems as API clients receive them: the statuses and codes of each API format, and messages without what only the chat has.

use domain::{Problem, ProblemKind};
use providers::api::{ApiFormat, error_body};
use serde_json::Value;

/// Parts of sentences about what only the chat has.
const CHAT_ONLY: [&str; 7] =
    ["draft", "message box", "in the box", "your conversations", "new conversation", "is saved", "Copy what you need"];

/// A problem as an API format has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The kind of the problem, or the code that the format has for it.
    pub kind: &'static str,
    /// What happened and what to do.
    pub message: String,
    /// The invalid parameter.
    pub param: Option<String>,
}

impl ApiError {
    /// Converts a problem.
    pub fn of(format: ApiFormat, problem: Problem) -> Self {
        let message = without_chat(&problem.message);
        let param = problem.field.filter(|field| !field.is_empty());
        let (status, kind) = match format {
            ApiFormat::Messages => (anthropic_status(problem.kind), problem.kind.as_str()),
            ApiFormat::ChatCompletions | ApiFormat::Responses => {
                (openai_status(problem.kind), openai_code(problem.kind, param.as_deref()))
            }
        };
        Self { status, kind, message, param }
    }

    /// Returns the body of the response.
    pub fn body(&self, format: ApiFormat) -> Value {
        error_body(format, self.status, self.kind, &self.message, self.param.as_deref())
    }
}

/// Returns the status in Anthropic's format, whose clients know 529 for an overloaded server: <https://docs.anthropic.com/en/api/errors>
fn anthropic_status(kind: ProblemKind) -> u16 {
    match kind {
        ProblemKind::Invalid => 400,
        ProblemKind::ModelUnavailable | ProblemKind::Overloaded => 529,
        _ => kind.status(),
    }
}

/// Returns the status in OpenAI's format: <https://platform.openai.com/docs/guides/error-codes>
fn openai_status(kind: ProblemKind) -> u16 {
    match kind {
        ProblemKind::Invalid | ProblemKind::TooLarge => 400,
        _ => kind.status(),
    }
}

/// Returns the code that clients of OpenAI know, or the kind of the problem.
fn openai_code(kind: ProblemKind, param: Option<&str>) -> &'static str {
    match kind {
        ProblemKind::TooLarge => "context_length_exceeded",
        ProblemKind::NotFound if param == Some("model") => "model_not_found",
        _ => kind.as_str(),
    }
}

/// Returns a message without the sentences about what only the chat has: a draft, a transcript.
fn without_chat(message: &str) -> String {
    let sentences = message.split_inclusive(". ");
    let kept = sentences.filter(|sentence| !CHAT_ONLY.iter().any(|part| sentence.contains(part)));
    let kept = kept.collect::<String>();
    let kept = kept.trim_end();
    if kept.is_empty() { message.to_owned() } else { kept.to_owned() }
}

/// Returns whether the same request may succeed in at most a minute. The official SDKs wait that long between their attempts, and otherwise
/// try again too soon.
pub(crate) fn is_retryable(problem: &Problem) -> bool {
    let is_soon = problem.retry_after_ms.is_none_or(|ms| ms <= 60_000);
    match problem.kind {
        // Every limit.
        kind if kind.status() == 429 => is_soon,
        ProblemKind::SpendCap
        | ProblemKind::LimitsUnavailable
        | ProblemKind::ModelUnavailable
        | ProblemKind::Overloaded
        | ProblemKind::Internal => is_soon,
        // The request that is being answered, which a repeated one waits for.
        ProblemKind::Conflict => problem.retry_after_ms.is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Tokens;

    #[test]
    fn messages_are_about_the_request() {
        for (problem, expected) in [
            (Problem::restarting(), "This server is restarting."),
            (Problem::chat_paused(), "Chat is switched off right now."),
            (
                Problem::out_of_service("GPT-5"),
                "GPT-5 is out of service right now. Nothing was sent and nothing was charged.",
            ),
            (
                Problem::too_long("GPT-5", Some(Tokens(8_000))),
                "GPT-5 reads at most 8,000 tokens, and this conversation is longer.",
            ),
            (
                Problem::model_silent(Tokens(9)),
                "The model didn't respond in time. 9 tokens were counted because the provider may bill for the request. Try again later, or choose another model.",
            ),
            (Problem::new(ProblemKind::Invalid, "Your draft is kept."), "Your draft is kept."),
        ] {
            assert_eq!(ApiError::of(ApiFormat::Responses, problem).message, expected);
        }
    }

    #[test]
    fn each_format_has_its_own_statuses() {
        for (problem, anthropic, openai) in [
            (Problem::overloaded(), (529, "overloaded"), (503, "overloaded")),
            (Problem::spend_cap(9), (503, "spend_cap"), (503, "spend_cap")),
            (Problem::invalid("model", "No."), (400, "invalid"), (400, "invalid")),
            (Problem::attempts_limit("No.", 9), (429, "attempts_limit"), (429, "attempts_limit")),
            (Problem::too_long("M", None), (413, "too_large"), (400, "context_length_exceeded")),
            (Problem::model_failed(), (502, "model_failed"), (502, "model_failed")),
        ] {
            for (format, expected) in [(ApiFormat::Messages, anthropic), (ApiFormat::ChatCompletions, openai)] {
                let error = ApiError::of(format, problem.clone());
                assert_eq!(((error.status, error.kind), error.param), (expected, problem.field.clone()));
            }
        }
        let unknown = Problem { field: Some("model".to_owned()), ..Problem::not_found("model") };
        assert_eq!(ApiError::of(ApiFormat::Responses, unknown).kind, "model_not_found");
    }

    #[test]
    fn a_retry_is_suggested_if_it_may_succeed() {
        assert!(is_retryable(&Problem::attempts_limit("", 60_000)) && !is_retryable(&Problem::spend_cap(60_001)));
        assert!(is_retryable(&Problem::restarting()) && !is_retryable(&Problem::model_failed()));
        assert!(!is_retryable(&Problem::paused()) && !is_retryable(&Problem::new(ProblemKind::Conflict, "")));
    }
}

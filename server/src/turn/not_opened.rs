//! Why a call was not opened: whether its fallback is called, what it may cost, and what the user is shown.

use crate::failure::internal;
use domain::{Model, Problem, ProblemKind, Tokens};
use providers::ProviderError;

/// The reason a call was not opened.
#[derive(Debug)]
pub enum NotOpened {
    /// The provider's circuit breaker is open.
    Circuit {
        /// Milliseconds until the provider is probed.
        retry_after_ms: u64,
        /// Whether the provider rejects every call until the owner acts.
        needs_owner: bool,
    },
    /// The provider has as many calls in progress as its row allows.
    Full {
        /// Milliseconds after which it may be tried again.
        retry_after_ms: u64,
    },
    /// The provider failed or refused the call.
    Provider(ProviderError),
}

impl NotOpened {
    /// Returns whether a fallback model may be called: the provider accepted nothing, and another one may.
    pub fn allows_fallback(&self) -> bool {
        match self {
            Self::Circuit { .. } | Self::Full { .. } => true,
            Self::Provider(error) => error.allows_fallback(),
        }
    }

    /// Returns whether a fallback model may be called for an API client. If its provider doesn't have the model that it names, it
    /// gets that error, as from the provider itself.
    pub fn allows_fallback_for_api(&self) -> bool {
        self.allows_fallback() && !matches!(self, Self::Provider(ProviderError::UnknownModel { .. }))
    }

    /// Returns whether the provider was called at all.
    pub fn was_called(&self) -> bool {
        matches!(self, Self::Provider(_))
    }

    /// Returns whether the provider failed. A prompt that is too long isn't its failure.
    pub fn is_failure(&self) -> bool {
        self.was_called() && !matches!(self, Self::Provider(ProviderError::TooLong { .. }))
    }

    /// Returns whether the provider failed an API client's call. A request that it finds invalid isn't its failure.
    pub fn is_failure_for_api(&self) -> bool {
        let is_invalid = matches!(
            self,
            Self::Provider(
                ProviderError::Refused { status: 400 | 422, .. } | ProviderError::UnknownModel { status: 400 | 422 }
            )
        );
        self.is_failure() && !is_invalid
    }

    /// Returns whether the provider may have accepted the call and bill it.
    pub fn may_be_billed(&self) -> bool {
        matches!(self, Self::Provider(error) if error.may_be_billed())
    }

    /// Returns the problem shown to the user; details are logged. `estimated` is the size of the prompt, which a silent provider may bill.
    pub fn problem(&self, model: &Model, estimated: Tokens) -> Problem {
        let error = match self {
            Self::Circuit { needs_owner: true, .. } => return Problem::out_of_service(&model.label),
            Self::Circuit { retry_after_ms, .. } | Self::Full { retry_after_ms } => {
                return Problem::model_unavailable(*retry_after_ms);
            }
            Self::Provider(error) => error,
        };
        let problem = match error {
            ProviderError::TooLong { tokens, max, .. } => {
                tracing::info!(model = %model.name, %error, "prompt refused");
                return too_long(model, tokens.map(Tokens), max.map(Tokens), estimated);
            }
            ProviderError::Unreachable(_) => Problem::model_unavailable(10_000),
            ProviderError::TimedOut => Problem::model_silent(estimated),
            ProviderError::Busy { retry_after_ms, .. } => Problem::model_unavailable(retry_after_ms.unwrap_or(10_000)),
            ProviderError::OutOfCredit { .. }
            | ProviderError::KeyRejected { .. }
            | ProviderError::UnknownModel { .. } => Problem::out_of_service(&model.label),
            ProviderError::Refused { .. } | ProviderError::NotAResponse(_) => Problem::model_refused(),
            ProviderError::StreamFailed(_) => Problem::model_broke_off(estimated),
        };
        Problem { incident: internal(error).incident, ..problem }
    }

    /// Returns the problem shown to an API client, which can change a request that its provider finds invalid, and choose another model.
    pub fn problem_for_api(&self, model: &Model, estimated: Tokens) -> Problem {
        if let Self::Provider(ProviderError::UnknownModel { .. }) = self {
            let message = format!(
                "The provider of `{}` doesn't offer this model at present. Choose another one: `GET /v1/models` lists them.",
                model.name
            );
            return Problem { field: Some("model".to_owned()), ..Problem::new(ProblemKind::NotFound, message) };
        }
        let Self::Provider(ProviderError::Refused { status: 400 | 422, kind }) = self else {
            return self.problem(model, estimated);
        };
        tracing::info!(model = %model.name, kind, "request of an API client refused");
        let message = format!(
            "The provider of {} refused the request as invalid ({kind}). Check its parameters, tools and messages.",
            model.label
        );
        Problem::invalid("", message)
    }
}

/// Returns the problem of a prompt that the provider found too long, with the provider's numbers if it named them. Ours are used where they
/// make sense: our count isn't shown if by it the prompt fits.
fn too_long(model: &Model, tokens: Option<Tokens>, max: Option<Tokens>, estimated: Tokens) -> Problem {
    let max = max.or_else(|| Some(model.context).filter(|context| tokens.unwrap_or(estimated) > *context));
    let tokens = tokens.or(Some(estimated)).filter(|tokens| max.is_none_or(|max| *tokens > max));
    match (tokens, max) {
        (Some(tokens), Some(max)) => Problem::too_large(tokens, max, None),
        (_, max) => Problem::too_long(&model.label, max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::testing::model;
    use domain::Thinking;

    /// Field notes 58 and 59: which errors call the fallback, and which problem users see without one.
    #[test]
    fn problems_say_what_to_do() {
        let (model, estimated) = (model(Thinking::None), Tokens(900));
        let problem = |error| {
            let error = NotOpened::Provider(error);
            let problem = error.problem(&model, estimated);
            (error.allows_fallback(), problem.status(), problem.retry_after_ms, problem.max, problem.message)
        };
        for error in [
            ProviderError::OutOfCredit { status: 402 },
            ProviderError::KeyRejected { status: 401 },
            ProviderError::UnknownModel { status: 404 },
        ] {
            let (allows_fallback, status, retry_after_ms, _, message) = problem(error);
            assert!(allows_fallback && status == 502 && retry_after_ms.is_none(), "{message}");
            assert!(message.starts_with("M is out of service right now. Nothing was sent"), "{message}");
        }
        let (allows_fallback, status, _, _, message) =
            problem(ProviderError::Refused { status: 400, kind: "invalid_request_error".into() });
        assert!(!allows_fallback && status == 502 && message.contains("your text is back in the message box"));
        let (allows_fallback, status, ..) = problem(ProviderError::NotAResponse("text/html".into()));
        assert!(allows_fallback && status == 502);
        let busy = ProviderError::Busy { status: 529, retry_after_ms: Some(2_500) };
        assert_eq!(problem(busy).2, Some(2_500));
        let blocked = NotOpened::Circuit { retry_after_ms: 9_000, needs_owner: true }.problem(&model, estimated);
        assert_eq!((blocked.status(), blocked.retry_after_ms), (502, None), "no retry is suggested");
    }

    #[test]
    fn api_clients_receive_why_their_request_is_invalid() {
        let (model, estimated) = (model(Thinking::None), Tokens(900));
        let refused = |status| {
            let error = ProviderError::Refused { status, kind: "invalid_request_error".into() };
            NotOpened::Provider(error).problem_for_api(&model, estimated)
        };
        let invalid = refused(400);
        let error = |status| NotOpened::Provider(ProviderError::Refused { status, kind: "x".into() });
        assert!(!error(400).is_failure_for_api() && error(403).is_failure_for_api() && error(400).is_failure());
        assert!(invalid.status() == 422 && invalid.message.contains("(invalid_request_error)"), "{invalid:?}");
        assert_eq!(refused(403).status(), 502);
        let unknown = |status| NotOpened::Provider(ProviderError::UnknownModel { status });
        let problem = unknown(404).problem_for_api(&model, estimated);
        assert_eq!((problem.status(), problem.field.as_deref()), (404, Some("model")));
        assert!(unknown(404).allows_fallback() && !unknown(404).allows_fallback_for_api());
        assert!(unknown(404).is_failure_for_api() && !unknown(400).is_failure_for_api());
        assert!(NotOpened::Full { retry_after_ms: 1 }.allows_fallback_for_api());
    }

    /// Field note 59: a prompt that is too long is 413 with the numbers that are known.
    #[test]
    fn prompts_that_are_too_long_come_with_numbers() {
        let model = model(Thinking::None);
        for (tokens, max, estimated, expected_max, part) in [
            (Some(205_351), Some(200_000), 900, Some(200_000), "about 205,351 tokens"),
            (None, Some(8_192), 9_000, Some(8_192), "about 9,000 tokens"),
            (None, Some(8_192), 900, Some(8_192), "M reads at most 8,192 tokens"),
            (None, None, 900, None, "too long for M"),
            (None, None, 2_000_000, Some(1_000_000), "about 2,000,000 tokens"),
        ] {
            let error = NotOpened::Provider(ProviderError::TooLong { status: 400, tokens, max });
            let problem = error.problem(&model, Tokens(estimated));
            assert_eq!((problem.status(), problem.max), (413, expected_max), "{problem:?}");
            assert!(problem.message.contains(part), "{}", problem.message);
        }
    }
}

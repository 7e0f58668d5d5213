//! Problems shown to users: a kind for programs, and a message that says what happened and what to do.

pub use crate::problem_kind::ProblemKind;

use crate::{PlanId, Tokens};
use serde::{Deserialize, Serialize};

/// The message of a response that ended with a call of a tool that was never offered, live and in the transcript.
pub const TOOL_CALL: &str =
    "The model tried to use a tool that isn't available here. Try again, or rephrase your message.";

/// A refusal or failure. On the wire it is wrapped as `{"problem": {…}}`; see [`ProblemBody`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The kind, for programs.
    pub kind: ProblemKind,
    /// The message for users: what happened and what to do.
    pub message: String,
    /// Milliseconds until the same request would be accepted, if nothing else happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The plan that would allow the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<PlanId>,
    /// The largest size that could fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// The invalid field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The id of a failure, which is also in the log line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
}

impl Problem {
    /// Creates a problem with a message and no details.
    #[must_use]
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after_ms: None,
            upgrade: None,
            max: None,
            field: None,
            incident: None,
        }
    }

    /// The request has no signed-in user.
    #[must_use]
    pub fn sign_in_required() -> Self {
        Self::new(ProblemKind::SignInRequired, "Sign in to continue.")
    }

    /// The object doesn't exist or belongs to another user, which can't be distinguished.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(ProblemKind::NotFound, format!("This {what} doesn't exist, or you don't have access to it."))
    }

    /// A field is invalid.
    #[must_use]
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), ..Self::new(ProblemKind::Invalid, message) }
    }

    /// A larger plan would allow this model; `upgrade` is the smallest that does.
    #[must_use]
    pub fn plan_too_small(model: &str, upgrade: Option<PlanId>) -> Self {
        Self {
            upgrade,
            ..Self::new(
                ProblemKind::PlanTooSmall,
                format!("{model} isn't included in your plan. Choose another model or a larger plan."),
            )
        }
    }

    /// The request is larger than could ever fit.
    #[must_use]
    pub fn too_large(requested: Tokens, max: Tokens, upgrade: Option<PlanId>) -> Self {
        let message = format!(
            "With the conversation so far, this message has about {requested} tokens. The maximum is {max}. Shorten it or start a new conversation."
        );
        Self { max: Some(max.0), upgrade, ..Self::new(ProblemKind::TooLarge, message) }
    }

    /// The provider refused the prompt as too long for its model, without its length. `max` is the model's context size, if known.
    #[must_use]
    pub fn too_long(model: &str, max: Option<Tokens>) -> Self {
        let what = match max {
            Some(max) => format!("{model} reads at most {max} tokens, and this conversation is longer."),
            None => format!("This conversation is too long for {model}."),
        };
        let message = format!("{what} Shorten your message or start a new conversation.");
        Self { max: max.map(|max| max.0), ..Self::new(ProblemKind::TooLarge, message) }
    }

    /// The meters can't be reached, and no paid call may run unmetered.
    #[must_use]
    pub fn limits_unavailable() -> Self {
        Self {
            retry_after_ms: Some(5_000),
            ..Self::new(
                ProblemKind::LimitsUnavailable,
                "Your limits can't be checked right now, so nothing was sent. Try again in a few seconds.",
            )
        }
    }

    /// The deployment has reached its daily spend cap.
    #[must_use]
    pub fn spend_cap(retry_after_ms: u64) -> Self {
        Self {
            retry_after_ms: Some(retry_after_ms),
            ..Self::new(
                ProblemKind::SpendCap,
                "This site has reached its daily spend cap. Your own limits are unchanged and your draft is kept.",
            )
        }
    }

    /// A model has reached its daily spend cap.
    #[must_use]
    pub fn model_spend_cap(model: &str, retry_after_ms: u64) -> Self {
        let message = format!(
            "{model} has reached its daily spend cap. Choose another model. Your own limits are unchanged and your draft is kept."
        );
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(ProblemKind::SpendCap, message) }
    }

    /// The owner has switched chat off.
    #[must_use]
    pub fn chat_paused() -> Self {
        Self {
            retry_after_ms: Some(60_000),
            ..Self::new(
                ProblemKind::ModelUnavailable,
                "Chat is switched off right now. Nothing was sent and your draft is kept. You can still read your conversations.",
            )
        }
    }

    /// An admin has paused the account: the user can read but not send.
    #[must_use]
    pub fn paused() -> Self {
        Self::new(
            ProblemKind::Paused,
            "Your account is paused, so nothing was sent. Your draft is kept and you can still read your conversations. Contact us to resume it.",
        )
    }

    /// The user stopped the turn before the response began.
    #[must_use]
    pub fn stopped() -> Self {
        Self::new(
            ProblemKind::Conflict,
            "You stopped the response before it began. Your message is back in the message box.",
        )
    }

    /// The model can't be called now.
    #[must_use]
    pub fn model_unavailable(retry_after_ms: u64) -> Self {
        Self {
            retry_after_ms: Some(retry_after_ms),
            ..Self::new(
                ProblemKind::ModelUnavailable,
                "This model is unavailable right now. Try again shortly, or choose another model.",
            )
        }
    }

    /// Stripe isn't available.
    #[must_use]
    pub fn billing_unavailable() -> Self {
        Self {
            retry_after_ms: Some(60_000),
            ..Self::new(
                ProblemKind::BillingUnavailable,
                "The payment page is unavailable right now. Nothing was charged or changed. Try again in a minute.",
            )
        }
    }

    /// No payment key is configured, which only the owner can change.
    #[must_use]
    pub fn billing_not_connected() -> Self {
        Self {
            retry_after_ms: Some(3_600_000),
            ..Self::new(
                ProblemKind::BillingUnavailable,
                "Billing isn't set up on this server, so plans can't be bought yet.",
            )
        }
    }

    /// The provider failed before it sent any output.
    #[must_use]
    pub fn model_failed() -> Self {
        Self::new(
            ProblemKind::ModelFailed,
            "The model couldn't respond to this message. Try again, or choose another model.",
        )
    }

    /// The provider refused the request, or answered with something that isn't a response.
    #[must_use]
    pub fn model_refused() -> Self {
        Self::new(
            ProblemKind::ModelFailed,
            "The model couldn't answer this message. Nothing was sent, and your text is back in the message box. Try again, or choose another model.",
        )
    }

    /// The provider rejects every call of this model until the owner fixes the cause, so retrying doesn't help.
    #[must_use]
    pub fn out_of_service(model: &str) -> Self {
        let message = format!(
            "{model} is out of service right now. Nothing was sent and nothing was charged. Your text is back in the box; choose another model."
        );
        Self::new(ProblemKind::ModelFailed, message)
    }

    /// The connection to the provider broke off before any output; it may bill the prompt.
    #[must_use]
    pub fn model_broke_off(counted: Tokens) -> Self {
        let message = format!(
            "The model failed before it answered. {counted} tokens were counted, because its provider may bill for the request. Your text is back in the message box. Try again, or choose another model."
        );
        Self::new(ProblemKind::ModelFailed, message)
    }

    /// The model called a tool, although none was offered.
    #[must_use]
    pub fn tool_call() -> Self {
        Self::new(ProblemKind::ModelFailed, TOOL_CALL)
    }

    /// The provider failed in the middle of its response.
    #[must_use]
    pub fn model_interrupted() -> Self {
        Self::new(
            ProblemKind::ModelFailed,
            "The model stopped before its response was complete. What it wrote is saved. You can try again.",
        )
    }

    /// The provider accepted the request and didn't respond in time; it may bill the prompt.
    #[must_use]
    pub fn model_silent(counted: Tokens) -> Self {
        let message = format!(
            "The model didn't respond in time. {counted} tokens were counted because the provider may bill for the request. Try again later, or choose another model."
        );
        Self { retry_after_ms: Some(10_000), ..Self::new(ProblemKind::ModelUnavailable, message) }
    }

    /// This server is shutting down; another server, or its successor, will accept the request.
    #[must_use]
    pub fn restarting() -> Self {
        Self {
            retry_after_ms: Some(2_000),
            ..Self::new(
                ProblemKind::Overloaded,
                "This server is restarting. Your draft is kept; send it again in a moment.",
            )
        }
    }

    /// A running response was interrupted because this server had to shut down.
    #[must_use]
    pub fn cut_by_restart() -> Self {
        Self::new(
            ProblemKind::Overloaded,
            "The response was interrupted because the server restarted. What was written is saved. You can try again.",
        )
    }

    /// The server that ran the turn has crashed or was stopped, or another server ended the turn.
    #[must_use]
    pub fn lost() -> Self {
        Self::new(
            ProblemKind::Overloaded,
            "The response was interrupted because the server that was writing it failed. What was written is saved. You can try again.",
        )
    }

    /// The database can't be reached or has no capacity to spare.
    #[must_use]
    pub fn overloaded() -> Self {
        Self {
            retry_after_ms: Some(5_000),
            ..Self::new(ProblemKind::Overloaded, "The service is temporarily unavailable. Try again in a few seconds.")
        }
    }

    /// The user requested more work of one kind than is allowed in a short time.
    #[must_use]
    pub fn attempts_limit(message: &str, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(ProblemKind::AttemptsLimit, message) }
    }

    /// The response is complete, but saving it failed.
    #[must_use]
    pub fn not_recorded(incident: Option<String>) -> Self {
        Self {
            incident,
            ..Self::new(
                ProblemKind::Internal,
                "The response couldn't be saved, so it may be missing after a reload. Copy what you need.",
            )
        }
    }

    /// An internal error; `incident` identifies the log line.
    #[must_use]
    pub fn internal(incident: String) -> Self {
        let message = format!(
            "Something went wrong on our side. If it keeps happening, contact us with this number: {incident}."
        );
        Self { incident: Some(incident), ..Self::new(ProblemKind::Internal, message) }
    }

    /// Returns the HTTP status of the problem's kind.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.kind.status()
    }

    /// Returns the value of `Retry-After` in whole seconds, rounded up. Every 429 and 503 has one.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match (self.retry_after_ms, self.status()) {
            (Some(ms), _) => Some(ms.div_ceil(1000).max(1)),
            (None, 429 | 503) => Some(1),
            (None, _) => None,
        }
    }
}

/// The envelope of a problem on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemBody {
    /// The problem.
    pub problem: Problem,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field note 14: every 429 and 503 has a `Retry-After`, rounded up.
    #[test]
    fn refusals_have_a_retry_after() {
        let limit = |ms| Problem::attempts_limit("", ms).retry_after_seconds();
        assert_eq!((limit(1), limit(1000), limit(1001)), (Some(1), Some(1), Some(2)));
        assert_eq!(Problem::new(ProblemKind::SpendCap, "").retry_after_seconds(), Some(1));
        assert_eq!(Problem::not_found("chat").retry_after_seconds(), None);
    }

    #[test]
    fn problem_round_trips_as_json() {
        let body =
            ProblemBody { problem: Problem::too_large(Tokens(70_000), Tokens(50_000), Some(PlanId("pro".into()))) };
        let text = serde_json::to_string(&body).unwrap();
        assert!(text.starts_with(r#"{"problem":{"kind":"too_large","message":"With the conversation so far, this message has about 70,000 tokens"#), "{text}");
        assert_eq!(serde_json::from_str::<ProblemBody>(&text).unwrap(), body);
    }
}

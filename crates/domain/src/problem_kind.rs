//! The kinds of problems, their names and HTTP statuses.

use serde::{Deserialize, Serialize};

/// The kind of a problem. Each kind has one HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The request has no signed-in user.
    SignInRequired,
    /// The user's plan doesn't allow it; a larger plan may.
    PlanTooSmall,
    /// The user isn't allowed to do this.
    Forbidden,
    /// The account is paused.
    Paused,
    /// The user's email address isn't verified.
    VerifyEmail,
    /// It doesn't exist, or belongs to another user.
    NotFound,
    /// The request conflicts with an earlier one, such as the same key with another body.
    Conflict,
    /// The turn's events have expired; the transcript has the response.
    Gone,
    /// The request can never fit the limits.
    TooLarge,
    /// A field is invalid.
    Invalid,
    /// Too many requests in a minute.
    RequestsLimit,
    /// Too many tokens in a day.
    TokensLimit,
    /// Too many turns at once.
    InFlightLimit,
    /// Too many attempts in a short time.
    AttemptsLimit,
    /// A daily spend cap has been reached: the global one, or a model's.
    SpendCap,
    /// The meters can't be reached, so no paid call may run.
    LimitsUnavailable,
    /// The model isn't offered, or its provider isn't available.
    ModelUnavailable,
    /// Payments can't be started or changed now. Chat is unaffected.
    BillingUnavailable,
    /// The provider refused the request, or its response was interrupted.
    ModelFailed,
    /// This server or its database can't process the request now; the same request may succeed in a moment.
    Overloaded,
    /// An internal error.
    Internal,
}

impl ProblemKind {
    /// The name on the wire, in metrics and in `refusal_hour`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignInRequired => "sign_in_required",
            Self::PlanTooSmall => "plan_too_small",
            Self::Forbidden => "forbidden",
            Self::Paused => "paused",
            Self::VerifyEmail => "verify_email",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::TooLarge => "too_large",
            Self::Invalid => "invalid",
            Self::RequestsLimit => "requests_limit",
            Self::TokensLimit => "tokens_limit",
            Self::InFlightLimit => "in_flight_limit",
            Self::AttemptsLimit => "attempts_limit",
            Self::SpendCap => "spend_cap",
            Self::LimitsUnavailable => "limits_unavailable",
            Self::ModelUnavailable => "model_unavailable",
            Self::BillingUnavailable => "billing_unavailable",
            Self::ModelFailed => "model_failed",
            Self::Overloaded => "overloaded",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::SignInRequired => 401,
            Self::PlanTooSmall => 402,
            Self::Forbidden | Self::Paused | Self::VerifyEmail => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Gone => 410,
            Self::TooLarge => 413,
            Self::Invalid => 422,
            Self::RequestsLimit | Self::TokensLimit | Self::InFlightLimit | Self::AttemptsLimit => 429,
            Self::Internal => 500,
            Self::ModelFailed => 502,
            Self::SpendCap
            | Self::LimitsUnavailable
            | Self::ModelUnavailable
            | Self::BillingUnavailable
            | Self::Overloaded => 503,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_serialized_ones() {
        for kind in
            [ProblemKind::RequestsLimit, ProblemKind::InFlightLimit, ProblemKind::PlanTooSmall, ProblemKind::Internal]
        {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}

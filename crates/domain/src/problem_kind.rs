//! The kinds of problems, their names and HTTP statuses.

use crate::UnknownName;
use crate::model::names;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

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

// The names on the wire, in metrics and in `refusal_hour`.
names!(
    ProblemKind,
    "the kinds of problems",
    SignInRequired => "sign_in_required",
    PlanTooSmall => "plan_too_small",
    Forbidden => "forbidden",
    Paused => "paused",
    VerifyEmail => "verify_email",
    NotFound => "not_found",
    Conflict => "conflict",
    Gone => "gone",
    TooLarge => "too_large",
    Invalid => "invalid",
    RequestsLimit => "requests_limit",
    TokensLimit => "tokens_limit",
    InFlightLimit => "in_flight_limit",
    AttemptsLimit => "attempts_limit",
    SpendCap => "spend_cap",
    LimitsUnavailable => "limits_unavailable",
    ModelUnavailable => "model_unavailable",
    BillingUnavailable => "billing_unavailable",
    ModelFailed => "model_failed",
    Overloaded => "overloaded",
    Internal => "internal"
);

impl ProblemKind {
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
        for kind in ProblemKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}

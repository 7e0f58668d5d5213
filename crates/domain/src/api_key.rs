//! API keys, with which programs call the models as a user.

use crate::model::names;
use crate::{ApiKeyId, ModelName, Picos, Tokens, UnknownName, UserId};
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use time::OffsetDateTime;

/// An endpoint that a key can be limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiEndpoint {
    /// `POST /v1/chat/completions`.
    ChatCompletions,
    /// `POST /v1/responses`.
    Responses,
    /// `POST /v1/messages` and `POST /v1/messages/count_tokens`.
    Messages,
    /// `GET /v1/models`.
    Models,
}

names!(
    ApiEndpoint,
    "chat_completions, responses, messages, models",
    ChatCompletions => "chat_completions",
    Responses => "responses",
    Messages => "messages",
    Models => "models"
);

impl ApiEndpoint {
    /// Parses a name that `as_str` returns.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// Returns the path, as the pages show it.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::Models => "/v1/models",
        }
    }
}

/// Why the loop breaker refuses a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TripReason {
    /// The same request was sent many times in a minute.
    Repeats,
    /// Many calls in a row failed within a minute.
    Errors,
}

impl TripReason {
    /// Returns the name in the `api_key` table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Repeats => "repeats",
            Self::Errors => "errors",
        }
    }

    /// Parses a name that `as_str` returns.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Repeats, Self::Errors].into_iter().find(|reason| reason.as_str() == text)
    }

    /// Describes the behavior that was detected.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Repeats => "sent the same request many times within a minute",
            Self::Errors => "made many failing calls in a row within a minute",
        }
    }
}

/// An API key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// The key's id.
    pub id: ApiKeyId,
    /// Its user.
    pub user_id: UserId,
    /// The name that the user gave it: 1 to 60 characters.
    pub name: String,
    /// The first twelve characters of the secret.
    pub prefix: String,
    /// The models that it may call; `None` allows all of the plan.
    pub models: Option<Vec<ModelName>>,
    /// The endpoints that it may call; `None` allows all.
    pub endpoints: Option<Vec<ApiEndpoint>>,
    /// Maximum number of requests in any 60 seconds, within the plan's.
    pub requests_per_minute: Option<u64>,
    /// Maximum number of tokens in any 24 hours, within the plan's.
    pub tokens_per_day: Option<Tokens>,
    /// Maximum cost in any 30 days.
    pub monthly: Option<Picos>,
    /// Origins of web pages that may call with it, such as `https://app.example.com`.
    pub allowed_origins: Vec<String>,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// Its last use, to the minute.
    pub last_used_at: Option<OffsetDateTime>,
    /// When it stops working; `None` if it never does.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was revoked.
    pub revoked_at: Option<OffsetDateTime>,
    /// When it was paused; `None` if it isn't.
    pub paused_at: Option<OffsetDateTime>,
    /// Why it was paused.
    pub pause_reason: Option<String>,
    /// The last trip of the loop breaker: until when it refuses the key, and why.
    pub trip: Option<(OffsetDateTime, TripReason)>,
}

/// Whether a key works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKeyState {
    /// It works.
    Active,
    /// The loop breaker refuses it for a few minutes.
    Tripped,
    /// Its user has paused it.
    Paused,
    /// Its time is over.
    Expired,
    /// It was revoked and never works again.
    Revoked,
}

impl ApiKey {
    /// Returns whether the key works at an instant.
    #[must_use]
    pub fn state(&self, now: OffsetDateTime) -> ApiKeyState {
        if self.revoked_at.is_some() {
            ApiKeyState::Revoked
        } else if self.expires_at.is_some_and(|at| at <= now) {
            ApiKeyState::Expired
        } else if self.paused_at.is_some() {
            ApiKeyState::Paused
        } else if self.trip.is_some_and(|(until, _)| until > now) {
            ApiKeyState::Tripped
        } else {
            ApiKeyState::Active
        }
    }

    /// Returns whether the key may call a model that its user's plan allows.
    #[must_use]
    pub fn allows_model(&self, model: &ModelName) -> bool {
        self.models.as_ref().is_none_or(|models| models.contains(model))
    }

    /// Returns whether the key may call an endpoint.
    #[must_use]
    pub fn allows_endpoint(&self, endpoint: ApiEndpoint) -> bool {
        self.endpoints.as_ref().is_none_or(|endpoints| endpoints.contains(&endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-27 12:00 UTC);

    fn key() -> ApiKey {
        ApiKey {
            id: ApiKeyId::at(NOW),
            user_id: UserId::at(NOW),
            name: "Editor".to_owned(),
            prefix: "sk-quotient-".to_owned(),
            models: None,
            endpoints: None,
            requests_per_minute: None,
            tokens_per_day: None,
            monthly: None,
            allowed_origins: Vec::new(),
            created_at: NOW,
            last_used_at: None,
            expires_at: None,
            revoked_at: None,
            paused_at: None,
            pause_reason: None,
            trip: None,
        }
    }

    #[test]
    fn what_ends_a_key_for_good_comes_first() {
        let tripped = ApiKey { trip: Some((NOW + Duration::MINUTE, TripReason::Repeats)), ..key() };
        let paused = ApiKey { paused_at: Some(NOW), ..tripped.clone() };
        let expired = ApiKey { expires_at: Some(NOW), ..paused.clone() };
        let revoked = ApiKey { revoked_at: Some(NOW), ..expired.clone() };
        for (key, state) in [
            (&key(), ApiKeyState::Active),
            (&tripped, ApiKeyState::Tripped),
            (&paused, ApiKeyState::Paused),
            (&expired, ApiKeyState::Expired),
            (&revoked, ApiKeyState::Revoked),
        ] {
            assert_eq!(key.state(NOW), state);
        }
        assert_eq!(tripped.state(NOW + Duration::MINUTE), ApiKeyState::Active);
        assert_eq!(expired.state(NOW - Duration::SECOND), ApiKeyState::Paused);
    }

    #[test]
    fn a_key_without_scopes_allows_everything() {
        let model = ModelName("gpt-5".to_owned());
        assert!(key().allows_model(&model) && key().allows_endpoint(ApiEndpoint::Messages));
        let scoped = ApiKey { models: Some(vec![model.clone()]), endpoints: Some(vec![ApiEndpoint::Models]), ..key() };
        assert!(scoped.allows_model(&model) && !scoped.allows_model(&ModelName("other".to_owned())));
        assert!(scoped.allows_endpoint(ApiEndpoint::Models) && !scoped.allows_endpoint(ApiEndpoint::Messages));
    }

    #[test]
    fn names_are_parsed() {
        for endpoint in ApiEndpoint::ALL {
            assert_eq!(ApiEndpoint::parse(endpoint.as_str()), Some(endpoint));
            assert_eq!(serde_json::to_value(endpoint).unwrap(), endpoint.as_str());
        }
        for reason in [TripReason::Repeats, TripReason::Errors] {
            assert_eq!(TripReason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!((ApiEndpoint::parse("embeddings"), TripReason::parse("")), (None, None));
    }
}

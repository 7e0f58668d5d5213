//! Who calls the API: the key in a header, and its user.

use super::cors;
use crate::AppState;
use crate::accounts::api_keys::{is_use_due, secret_hash, secret_prefix};
use crate::failure::{Failure, internal};
use crate::http::origin::Client;
use axum::extract::FromRequestParts;
use domain::{ApiEndpoint, ApiKey, ApiKeyId, ApiKeyState, Problem, ProblemKind, Viewer};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::time::Instant;
use time::OffsetDateTime;

/// The header with the key that Anthropic's clients send.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Names of parameters that clients use for keys.
const KEY_PARAMETERS: [&str; 6] = ["key", "api_key", "api-key", "apikey", "x-api-key", "access_token"];

/// The user of a call to the API, and the key that it was made with.
#[derive(Debug)]
pub(crate) struct ApiCaller {
    /// The key's user. `authenticated_at` is `None`: a key proves no identity to the pages of the account.
    pub viewer: Viewer,
    /// The key, which works.
    pub key: ApiKey,
}

impl ApiCaller {
    /// Authenticates a call. Nothing is cached, so that a revoked key never works again on any server.
    ///
    /// # Errors
    /// Returns a problem: `invalid` with the field `api_key` for a key in the URL, which ends up in logs and histories, `sign_in_required`
    /// without a key and with one that doesn't work, `paused` and `attempts_limit` for a key that its user has paused or that the loop breaker
    /// refuses, `forbidden` for a web page whose origin the key doesn't list, `plan_too_small` if its user's plan allows no keys any more, `attempts_limit` for an address that sends many unknown keys.
    pub(crate) async fn authenticate(app: &AppState, parts: &Parts) -> Result<Self, Failure> {
        if parts.uri.query().is_some_and(has_key) {
            let message = "Send the API key in the Authorization or x-api-key header, not in the URL. If it was sent in a URL, revoke it.";
            return Err(Problem::invalid("api_key", message).into());
        }
        let network = Client::of_parts(app, parts).network();
        let unknown_keys = &app.protection.unknown_keys;
        let hash = secret_of(&parts.headers).ok_or_else(missing)?.and_then(secret_hash);
        if let Some(retry_after_ms) = unknown_keys.refused_for_ms(network, hash.as_ref(), Instant::now()) {
            let message = "Too many requests with unknown API keys. Wait a moment, and check the key.";
            return Err(Problem::attempts_limit(message, retry_after_ms).into());
        }
        let found = match &hash {
            Some(hash) => store::api_key::authenticate(&app.db, hash).await?,
            // It isn't one of this deployment, so it needs no query.
            None => None,
        };
        let (Some(hash), Some((key, viewer, max_keys))) = (hash, found) else {
            unknown_keys.note_unknown(network, Instant::now());
            return Err(not_accepted("Incorrect API key. Create one under Settings, API keys.").into());
        };
        unknown_keys.note_known(hash, Instant::now());
        let now = AppState::now();
        check_state(&key, now)?;
        check_origin(&key, &parts.headers)?;
        if max_keys == 0 {
            let message = "The plan of this API key's user doesn't include the API. A larger plan may.";
            return Err(Problem::new(ProblemKind::PlanTooSmall, message).into());
        }
        if is_use_due(key.last_used_at, now) {
            note_use(app, key.id, now);
        }
        Ok(Self { viewer, key })
    }

    /// Returns an error unless the key may call an endpoint.
    ///
    /// # Errors
    /// Returns a `forbidden` problem.
    pub(crate) fn check_endpoint(&self, endpoint: ApiEndpoint) -> Result<(), Problem> {
        match self.key.allows_endpoint(endpoint) {
            true => Ok(()),
            false => {
                let message = format!("This API key may not call {}. Its user can allow it.", endpoint.path());
                Err(Problem::new(ProblemKind::Forbidden, message))
            }
        }
    }
}

impl FromRequestParts<AppState> for ApiCaller {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Failure> {
        Self::authenticate(app, parts).await
    }
}

/// Returns the value of the header `x-api-key`. Anthropic's clients send it empty beside `Authorization` if their variable for it is set but empty,
/// as instructions for gateways say.
fn x_api_key(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(X_API_KEY).filter(|value| !value.is_empty())
}

/// Returns the value of the header that authenticates a request.
pub(super) fn credential(headers: &HeaderMap) -> Option<&HeaderValue> {
    x_api_key(headers).or_else(|| headers.get(header::AUTHORIZATION))
}

/// Returns the secret that a request carries: `None` without one, `Some(None)` if it isn't text.
fn secret_of(headers: &HeaderMap) -> Option<Option<&str>> {
    if let Some(value) = x_api_key(headers) {
        return Some(value.to_str().ok().map(str::trim));
    }
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok();
    let bearer = value.and_then(|value| {
        let (scheme, secret) = value.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
    });
    Some(bearer)
}

/// Returns whether a query string carries a key.
fn has_key(query: &str) -> bool {
    let prefix = secret_prefix();
    let is_key = |name: &str, value: &str| {
        value.trim_start().starts_with(&prefix) || KEY_PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    form_urlencoded::parse(query.as_bytes()).any(|(name, value)| is_key(&name, &value))
}

/// Returns whether a path carries a key, which a client may have put into it by mistake. Such a path isn't logged.
pub(crate) fn is_key_in_path(path: &str) -> bool {
    path.starts_with("/v1/") && path.contains(&secret_prefix())
}

fn not_accepted(message: &str) -> Problem {
    Problem::new(ProblemKind::SignInRequired, message)
}

fn missing() -> Problem {
    not_accepted("Send an API key as \"Authorization: Bearer\" or in the x-api-key header.")
}

/// Returns an error unless a key works.
fn check_state(key: &ApiKey, now: OffsetDateTime) -> Result<(), Problem> {
    match key.state(now) {
        ApiKeyState::Active => Ok(()),
        ApiKeyState::Revoked => Err(not_accepted("This API key was revoked.")),
        ApiKeyState::Expired => Err(not_accepted("This API key has expired.")),
        ApiKeyState::Paused => Err(Problem::new(
            ProblemKind::Paused,
            "This API key is paused. Its user can resume it under Settings, API keys.",
        )),
        ApiKeyState::Tripped => Err(tripped(key, now)),
    }
}

/// Returns an error for a call of a web page, unless the key lists the page's origin. The browser wouldn't let the page read the response, which
/// would be charged all the same.
fn check_origin(key: &ApiKey, headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(header::ORIGIN) {
        Some(origin) if !cors::is_listed(key, origin) => {
            let message = "This API key doesn't allow calls from web pages of this origin. Add it to the key's origins at /settings/keys.";
            Err(Problem::new(ProblemKind::Forbidden, message))
        }
        _ => Ok(()),
    }
}

/// Returns the problem of a key that the loop breaker refuses.
fn tripped(key: &ApiKey, now: OffsetDateTime) -> Problem {
    match key.trip {
        Some((until, reason)) => {
            let wait = u64::try_from((until - now).whole_milliseconds()).unwrap_or(0).max(1);
            let what = reason.describe();
            Problem::attempts_limit(
                &format!("This API key {what}, which looks like a loop. It is refused for a few minutes."),
                wait,
            )
        }
        None => Problem::overloaded(),
    }
}

/// Records the use of a key without delaying the call.
fn note_use(app: &AppState, id: ApiKeyId, now: OffsetDateTime) {
    let app = app.clone();
    tokio::spawn(async move {
        if let Err(error) = store::api_key::mark_used(&app.db, id, now).await {
            internal(&error);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_either_header() {
        let secret = |name: HeaderName, value: &'static str| {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
            secret_of(&headers).map(|secret| secret.map(str::to_owned))
        };
        for value in ["Bearer sk-a", "bearer  sk-a ", "BEARER sk-a"] {
            assert_eq!(secret(header::AUTHORIZATION, value), Some(Some("sk-a".to_owned())), "{value}");
        }
        assert_eq!(secret(X_API_KEY, " sk-a "), Some(Some("sk-a".to_owned())));
        for value in ["", "sk-a", "Basic sk-a", "Bearer"] {
            assert_eq!(secret(header::AUTHORIZATION, value), Some(None), "{value}");
        }
        assert_eq!(secret_of(&HeaderMap::new()), None);
        // Claude Code with ANTHROPIC_AUTH_TOKEN, and ANTHROPIC_API_KEY set to nothing.
        let [empty, bearer] = ["", "Bearer sk-a"].map(HeaderValue::from_static);
        let both = HeaderMap::from_iter([(X_API_KEY, empty), (header::AUTHORIZATION, bearer.clone())]);
        assert_eq!((secret_of(&both), credential(&both)), (Some(Some("sk-a")), Some(&bearer)));
    }

    #[test]
    fn a_key_in_a_query_string_is_found() {
        let prefix = secret_prefix();
        for query in [format!("x={prefix}abc"), format!("x=%20{prefix}abc"), "api_key=1".to_owned(), "Key=".to_owned()]
        {
            assert!(has_key(&query), "{query}");
        }
        for query in ["", "limit=20&after=sk", "beta=true"] {
            assert!(!has_key(query), "{query}");
        }
        assert!(is_key_in_path(&format!("/v1/{prefix}abc/models")) && !is_key_in_path("/v1/models/claude-haiku-4-5"));
    }
}

//! The headers with the remaining limits of an API client: the smaller of what its user and its key have left.

use super::caller::ApiCaller;
use crate::AppState;
use domain::Quota;
use domain::quota::{Requests, TokensLeft};
use http::{HeaderMap, HeaderValue};
use providers::api::ApiFormat;
use quota::{KeyCaps, KeyQuota, Unavailable, key_quota_of};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// What is left in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    limit: u64,
    remaining: u64,
    /// Milliseconds until more is available; `None` if nothing is used.
    reset_ms: Option<u64>,
}

impl From<&Requests> for Left {
    fn from(requests: &Requests) -> Self {
        Self { limit: requests.limit, remaining: requests.remaining, reset_ms: requests.reset_ms }
    }
}

impl From<&TokensLeft> for Left {
    fn from(tokens: &TokensLeft) -> Self {
        Self { limit: tokens.limit, remaining: tokens.remaining, reset_ms: tokens.next_free_ms }
    }
}

/// Reads what is left of the limits of a user and a key.
///
/// # Errors
/// Returns an error if the meters can't be read.
pub(super) async fn read(app: &AppState, caller: &ApiCaller) -> Result<(Quota, KeyQuota), Unavailable> {
    let ApiCaller { viewer, key } = caller;
    let quota = app.quotas.quota(viewer).await?;
    let key = key_quota_of(&KeyCaps::from(key), &app.quotas.peek_key(key.id).await?);
    Ok((quota, key))
}

/// Sets the headers of a format.
pub(super) fn set(headers: &mut HeaderMap, format: ApiFormat, quota: &Quota, key: &KeyQuota) {
    let windows = [
        ("requests", smaller((&quota.requests).into(), key.requests.as_ref().map(Left::from))),
        ("tokens", smaller((&quota.tokens).into(), key.tokens.as_ref().map(Left::from))),
    ];
    let now = AppState::now();
    for (window, left) in windows {
        let values = match format {
            ApiFormat::Messages => [
                (format!("anthropic-ratelimit-{window}-limit"), left.limit.to_string()),
                (format!("anthropic-ratelimit-{window}-remaining"), left.remaining.to_string()),
                (format!("anthropic-ratelimit-{window}-reset"), instant(now, left.reset_ms)),
            ],
            ApiFormat::ChatCompletions | ApiFormat::Responses => [
                (format!("x-ratelimit-limit-{window}"), left.limit.to_string()),
                (format!("x-ratelimit-remaining-{window}"), left.remaining.to_string()),
                (format!("x-ratelimit-reset-{window}"), duration(left.reset_ms)),
            ],
        };
        for (name, value) in values {
            if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
    }
}

/// Returns the window in which less is left.
fn smaller(user: Left, key: Option<Left>) -> Left {
    key.filter(|key| key.remaining < user.remaining).unwrap_or(user)
}

/// Writes a duration as OpenAI does, such as `6m0s`, rounded up to seconds.
fn duration(ms: Option<u64>) -> String {
    let seconds = ms.unwrap_or(0).div_ceil(1_000);
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

/// Writes an instant as Anthropic does, in RFC 3339, rounded up to seconds.
fn instant(now: OffsetDateTime, ms: Option<u64>) -> String {
    let after = Duration::milliseconds(ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0));
    let at = now.checked_add(after).unwrap_or(now);
    let up = if at.nanosecond() > 0 { Duration::SECOND } else { Duration::ZERO };
    let whole = at.replace_nanosecond(0).unwrap_or(at).checked_add(up).unwrap_or(at);
    whole.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn times_are_rounded_up() {
        for (ms, expected) in [(None, "0s"), (Some(1), "1s"), (Some(360_000), "6m0s"), (Some(3_600_001), "1h0m1s")] {
            assert_eq!(duration(ms), expected);
        }
        let now = datetime!(2026-11-27 12:00:00.5 UTC);
        assert_eq!(instant(now, Some(500)), "2026-11-27T12:00:01Z");
        assert_eq!(instant(now, None), "2026-11-27T12:00:01Z");
        assert_eq!(instant(datetime!(2026-11-27 12:00 UTC), Some(60_000)), "2026-11-27T12:01:00Z");
    }

    #[test]
    fn a_key_counts_where_it_has_less_left() {
        let left = |limit, remaining| Left { limit, remaining, reset_ms: None };
        assert_eq!(smaller(left(10, 5), Some(left(7, 6))), left(10, 5));
        assert_eq!(smaller(left(10, 5), Some(left(7, 4))), left(7, 4));
        assert_eq!(smaller(left(10, 5), None), left(10, 5));
    }
}

//! Reads a provider's retry delay.

use reqwest::header::HeaderMap;
use std::time::Duration;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

/// Returns the wait in milliseconds from `retry-after-ms`, or from `retry-after` in seconds, fractions of seconds or as an HTTP date. A date
/// is compared with the response's own `date`, so that differing clocks don't matter; without one, with `now`.
pub(crate) fn read(headers: &HeaderMap, now: OffsetDateTime) -> Option<u64> {
    let exact = text(headers, "retry-after-ms").and_then(|text| text.parse::<f64>().ok());
    if let Some(wait) = exact.and_then(|ms| Duration::try_from_secs_f64(ms / 1_000.0).ok()) {
        return Some(milliseconds(wait));
    }
    let wait = text(headers, "retry-after")?;
    if let Ok(seconds) = wait.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok().map(milliseconds);
    }
    let sent = text(headers, "date").and_then(date).unwrap_or(now);
    Some(u64::try_from((date(wait)? - sent).whole_milliseconds()).unwrap_or(0))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn milliseconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

fn date(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Headers = &'static [(&'static str, &'static str)];

    #[test]
    fn seconds_fractions_and_dates_are_read() {
        let now = date("Thu, 26 Nov 2026 12:00:00 GMT").unwrap();
        let cases: [(Headers, Option<u64>); 9] = [
            (&[("retry-after", "3")], Some(3_000)),
            (&[("retry-after", "1.25")], Some(1_250)),
            (&[("retry-after", "3"), ("retry-after-ms", "250.5")], Some(250)),
            (&[("retry-after", "Thu, 26 Nov 2026 12:00:09 GMT")], Some(9_000)),
            (
                &[("retry-after", "Thu, 26 Nov 2026 12:00:09 GMT"), ("date", "Thu, 26 Nov 2026 12:00:02 GMT")],
                Some(7_000),
            ),
            (&[("retry-after", "Thu, 26 Nov 2026 11:00:00 GMT")], Some(0)),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ];
        for (headers, expected) in cases {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            assert_eq!(read(&map, now), expected, "{headers:?}");
        }
    }
}

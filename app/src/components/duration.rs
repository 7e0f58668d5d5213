//! Formats durations and days.

use time::{Date, OffsetDateTime, UtcOffset};

/// Formats a duration in milliseconds, rounded up: "12 s", "4 min 5 s", "3 h 12 min".
#[must_use]
pub fn wait(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    if seconds < 60 {
        return format!("{seconds} s");
    }
    if seconds < 600 {
        return match seconds % 60 {
            0 => format!("{} min", seconds / 60),
            rest => format!("{} min {rest} s", seconds / 60),
        };
    }
    match seconds.div_ceil(60) {
        minutes @ ..60 => format!("{minutes} min"),
        minutes if minutes.is_multiple_of(60) => format!("{} h", minutes / 60),
        minutes => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

/// Formats the UTC date of a timestamp: "3 March 2026".
#[must_use]
pub fn day(at: OffsetDateTime) -> String {
    local_day(at.to_offset(UtcOffset::UTC))
}

/// Formats the date of a timestamp by its own offset, as [`crate::view::billing`] has them: "3 March 2026".
#[must_use]
pub fn local_day(at: OffsetDateTime) -> String {
    format!("{} {} {}", at.day(), at.month(), at.year())
}

/// Formats a day in few characters, as charts have it: "3 Mar".
#[must_use]
pub fn short_day(day: Date) -> String {
    format!("{} {}", day.day(), &day.month().to_string()[..3])
}

/// Formats a timestamp in UTC: "3 March 2026, 14:05".
#[must_use]
pub fn moment(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    format!("{}, {}", day(at), clock(at))
}

/// Formats the time of day of a timestamp in UTC: "14:05".
#[must_use]
pub fn clock(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    format!("{:02}:{:02}", at.hour(), at.minute())
}

/// Formats when something last happened, to the hour: "in the last hour", "3 h ago", "2 days ago", "on 3 March 2026". Times less than an
/// hour ago have one text, because sessions are renewed at most hourly.
#[must_use]
pub fn last_time(now: OffsetDateTime, at: OffsetDateTime) -> String {
    let hours = (now - at).whole_hours();
    match (hours, hours / 24) {
        (..1, _) => "in the last hour".to_owned(),
        (_, 0) => format!("{hours} h ago"),
        (_, 1) => "1 day ago".to_owned(),
        (_, days @ ..7) => format!("{days} days ago"),
        _ => format!("on {}", day(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::{last_time, wait};
    use time::macros::datetime;

    #[test]
    fn last_times_are_rounded_down() {
        let now = datetime!(2026-11-26 12:00 UTC);
        for (at, text) in [
            (datetime!(2026-11-26 12:01 UTC), "in the last hour"),
            (datetime!(2026-11-26 11:01 UTC), "in the last hour"),
            (datetime!(2026-11-26 11:00 UTC), "1 h ago"),
            (datetime!(2026-11-25 12:01 UTC), "23 h ago"),
            (datetime!(2026-11-25 12:00 UTC), "1 day ago"),
            (datetime!(2026-11-23 12:00 UTC), "3 days ago"),
            (datetime!(2026-11-19 12:00 UTC), "on 19 November 2026"),
        ] {
            assert_eq!(last_time(now, at), text, "{at}");
        }
    }

    #[test]
    fn waits_are_rounded_up() {
        for (ms, text) in [
            (1, "1 s"),
            (1_001, "2 s"),
            (59_001, "1 min"),
            (61_000, "1 min 1 s"),
            (600_001, "11 min"),
            (3_600_000, "1 h"),
            (11_521_000, "3 h 13 min"),
        ] {
            assert_eq!(wait(ms), text, "{ms}");
        }
    }
}

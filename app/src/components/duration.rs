//! Formats durations and days.

use time::{OffsetDateTime, UtcOffset};

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
    let at = at.to_offset(UtcOffset::UTC);
    format!("{} {} {}", at.day(), at.month(), at.year())
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

#[cfg(test)]
mod tests {
    use super::wait;

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

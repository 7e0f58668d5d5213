//! The periods of the owner's usage report.

use serde::{Deserialize, Serialize};
use time::{Date, Duration, OffsetDateTime, Time};

/// A period of the usage report. All boundaries are UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportPeriod {
    /// The last 24 whole hours and the current one.
    #[default]
    Day,
    /// Today and the 6 days before.
    Week,
    /// Today and the 29 days before.
    Days30,
    /// From the first of this month.
    Month,
    /// From one day to another, both included.
    Custom(Date, Date),
}

impl ReportPeriod {
    /// The periods without dates, which are kept summed up; shortest first.
    pub const STANDARD: [Self; 4] = [Self::Day, Self::Week, Self::Days30, Self::Month];

    /// The name in URLs and in the table `usage_period`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Days30 => "30d",
            Self::Month => "month",
            Self::Custom(..) => "custom",
        }
    }

    /// Whether the period is one of [`Self::STANDARD`].
    #[must_use]
    pub fn is_standard(self) -> bool {
        !matches!(self, Self::Custom(..))
    }

    /// The name on pages.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Day => "24 hours".to_owned(),
            Self::Week => "7 days".to_owned(),
            Self::Days30 => "30 days".to_owned(),
            Self::Month => "this month".to_owned(),
            Self::Custom(from, to) if from == to => from.to_string(),
            Self::Custom(from, to) => format!("{from} to {to}"),
        }
    }

    /// The start and the end (exclusive) of the period at an instant. The current hour is included; a custom period that begins later is
    /// empty.
    #[must_use]
    pub fn bounds(self, now: OffsetDateTime) -> (OffsetDateTime, OffsetDateTime) {
        let midnight = |day: Date| day.midnight().assume_utc();
        let hour = start_of_hour(now);
        let next = hour + Duration::HOUR;
        match self {
            Self::Day => (hour - Duration::DAY, next),
            Self::Week => (midnight(now.date()) - Duration::days(6), next),
            Self::Days30 => (midnight(now.date()) - Duration::days(29), next),
            Self::Month => (midnight(now.date().replace_day(1).unwrap_or(now.date())), next),
            Self::Custom(from, to) => (midnight(from).min(next), midnight(to.next_day().unwrap_or(to)).min(next)),
        }
    }

    /// Parses the query parameters of a period. An unknown name is [`Self::Day`]. With a date, the period is custom, whatever its name is.
    ///
    /// # Errors
    /// Returns a message for the user if a custom period's dates are missing, reversed or more than ten years apart.
    pub fn parse(name: Option<&str>, from: Option<&str>, to: Option<&str>) -> Result<Self, &'static str> {
        if name == Some("custom") || from.is_some() || to.is_some() {
            let format = time::macros::format_description!("[year]-[month]-[day]");
            let day = |text: Option<&str>| text.and_then(|text| Date::parse(text, format).ok());
            let (Some(from), Some(to)) = (day(from), day(to)) else {
                return Err("Enter a first and a last day, like 2026-01-31.");
            };
            let years = 2000..=9000;
            if from > to || to - from > Duration::days(3660) || !years.contains(&from.year()) {
                return Err("The first day must be before the last, at most ten years apart.");
            }
            return Ok(Self::Custom(from, to));
        }
        Ok(Self::STANDARD.into_iter().find(|period| Some(period.as_str()) == name).unwrap_or_default())
    }
}

/// Truncates an instant to its hour.
#[must_use]
pub fn start_of_hour(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_time(Time::from_hms(at.hour(), 0, 0).unwrap_or(Time::MIDNIGHT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    #[test]
    fn dates_make_a_period_custom() {
        let parse = |name, from, to| ReportPeriod::parse(name, from, to);
        let custom = ReportPeriod::Custom(date!(2026 - 03 - 01), date!(2026 - 03 - 09));
        for name in [None, Some("custom"), Some("7d"), Some("century")] {
            assert_eq!(parse(name, Some("2026-03-01"), Some("2026-03-09")), Ok(custom), "{name:?}");
            assert!(parse(name, Some("2026-03-01"), None).is_err() && parse(name, None, Some("2026-03-09")).is_err());
        }
        assert_eq!(parse(Some("7d"), None, None), Ok(ReportPeriod::Week));
        assert_eq!(parse(Some("century"), None, None), Ok(ReportPeriod::Day));
        assert!(parse(Some("custom"), None, None).is_err());
    }
}

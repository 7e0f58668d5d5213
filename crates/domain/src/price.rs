//! Prices of plans: amounts of money in a currency, and billing intervals.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A billing interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// Every month.
    #[default]
    Month,
    /// Every year.
    Year,
    /// Any other interval, set up manually in Stripe.
    Other,
}

impl Period {
    /// Returns the name used in forms, URLs and the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Year => "year",
            Self::Other => "other",
        }
    }
}

impl FromStr for Period {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "month" => Ok(Self::Month),
            "year" => Ok(Self::Year),
            "other" => Ok(Self::Other),
            _ => Err(()),
        }
    }
}

/// An amount in the smallest unit of its currency, as in Stripe's API: cents for usd, whole yen for jpy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// The number of smallest units.
    pub minor: i64,
    /// The currency code: three lower-case letters.
    pub currency: String,
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Stripe's currencies without decimals: https://docs.stripe.com/currencies#zero-decimal
        const WHOLE: [&str; 16] = [
            "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof",
            "xpf",
        ];
        let sign = if self.minor < 0 { "−" } else { "" };
        let size = self.minor.unsigned_abs();
        let text = if WHOLE.contains(&self.currency.as_str()) {
            crate::money::grouped(&size.to_string())
        } else if ["bhd", "jod", "kwd", "omr", "tnd"].contains(&self.currency.as_str()) {
            format!("{}.{:03}", crate::money::grouped(&(size / 1_000).to_string()), size % 1_000)
        } else {
            match (crate::money::grouped(&(size / 100).to_string()), size % 100) {
                (whole, 0) => whole,
                (whole, cents) => format!("{whole}.{cents:02}"),
            }
        };
        match self.currency.as_str() {
            "usd" => write!(f, "{sign}${text}"),
            "eur" => write!(f, "{sign}€{text}"),
            "gbp" => write!(f, "{sign}£{text}"),
            other => write!(f, "{sign}{text} {}", other.to_uppercase()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_formatted_for_users() {
        for (minor, currency, text) in [
            (2_000, "usd", "$20"),
            (123_456, "usd", "$1,234.56"),
            (-2_005, "eur", "−€20.05"),
            (500, "jpy", "500 JPY"),
            (999, "chf", "9.99 CHF"),
            (5_000, "kwd", "5.000 KWD"),
            (i64::MIN, "usd", "−$92,233,720,368,547,758.08"),
        ] {
            assert_eq!(Amount { minor, currency: currency.into() }.to_string(), text);
        }
    }
}

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

impl Amount {
    /// Returns the number of decimals of the currency.
    fn decimals(&self) -> u8 {
        match self.currency.as_str() {
            // Stripe's currencies without decimals: https://docs.stripe.com/currencies#zero-decimal
            "bif" | "clp" | "djf" | "gnf" | "jpy" | "kmf" | "krw" | "mga" | "pyg" | "rwf" | "ugx" | "vnd" | "vuv"
            | "xaf" | "xof" | "xpf" => 0,
            "bhd" | "jod" | "kwd" | "omr" | "tnd" => 3,
            _ => 2,
        }
    }

    /// Returns the amount as programs read it, in the currency's unit: "1234.50".
    #[must_use]
    pub fn decimal(&self) -> String {
        let sign = if self.minor < 0 { "-" } else { "" };
        let size = self.minor.unsigned_abs();
        match self.decimals() {
            0 => format!("{sign}{size}"),
            3 => format!("{sign}{}.{:03}", size / 1_000, size % 1_000),
            _ => format!("{sign}{}.{:02}", size / 100, size % 100),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minor < 0 { "−" } else { "" };
        let size = self.minor.unsigned_abs();
        let text = match self.decimals() {
            0 => crate::money::grouped(&size.to_string()),
            3 => format!("{}.{:03}", crate::money::grouped(&(size / 1_000).to_string()), size % 1_000),
            _ => match (crate::money::grouped(&(size / 100).to_string()), size % 100) {
                (whole, 0) => whole,
                (whole, cents) => format!("{whole}.{cents:02}"),
            },
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
    fn decimals_are_for_programs() {
        for (minor, currency, text) in [
            (2_000, "usd", "20.00"),
            (123_456, "usd", "1234.56"),
            (-5, "eur", "-0.05"),
            (500, "jpy", "500"),
            (5_000, "kwd", "5.000"),
        ] {
            assert_eq!(Amount { minor, currency: currency.into() }.decimal(), text);
        }
    }

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

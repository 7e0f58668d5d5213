//! Money as integers. Prices are whole micro-dollars per million tokens, so price × tokens is whole pico-dollars and nothing is
//! rounded.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A price in micro-dollars per million tokens ($1.00 per million is 1,000,000), which equals pico-dollars per token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicrosPerMillion(pub i64);

/// An amount in pico-dollars (10⁻¹² US dollars). `i64` holds up to nine million dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Picos(pub i64);

impl MicrosPerMillion {
    /// Returns the cost of a number of tokens at this price. Saturates far above any real turn.
    #[must_use]
    pub fn of(self, tokens: u64) -> Picos {
        Picos(self.0.saturating_mul(i64::try_from(tokens).unwrap_or(i64::MAX)))
    }

    /// Parses dollars per million tokens ("0.25"). Returns `None` if the text isn't a number, is negative, or is finer than a
    /// micro-dollar.
    #[must_use]
    pub fn parse_usd(text: &str) -> Option<Self> {
        let micros = text.trim().parse::<Decimal>().ok()?.checked_mul(Decimal::from(1_000_000))?;
        (micros.is_integer() && !micros.is_sign_negative()).then(|| i64::try_from(micros).ok().map(Self))?
    }

    /// Returns the price in dollars per million tokens.
    #[must_use]
    pub fn to_usd(self) -> Decimal {
        Decimal::new(self.0, 6).normalize()
    }
}

impl Picos {
    /// Zero dollars.
    pub const ZERO: Self = Self(0);

    /// Adds two amounts; saturates.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Returns the exact amount in dollars, as stored in the ledger's `numeric(20,12)`.
    #[must_use]
    pub fn to_usd(self) -> Decimal {
        Decimal::new(self.0, 12)
    }

    /// Converts from dollars. Returns `None` if the amount doesn't fit or is finer than a pico-dollar.
    #[must_use]
    pub fn from_usd(usd: Decimal) -> Option<Self> {
        let picos = usd.checked_mul(Decimal::from(1_000_000_000_000_i64))?;
        picos.is_integer().then(|| i64::try_from(picos).ok().map(Self))?
    }

    /// Returns the exact amount in dollars as text, without trailing zeros: "0.000123".
    #[must_use]
    pub fn exact(self) -> String {
        self.to_usd().normalize().to_string()
    }
}

impl fmt::Display for Picos {
    /// Formats the amount for users: cents from one dollar up ($12.40), two significant digits below ($0.0042), grouped thousands.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usd = self.to_usd();
        let size = usd.abs();
        let digits = if size.is_zero() || size >= Decimal::ONE {
            2
        } else {
            let lead = size.scale() - u32::try_from(self.0.unsigned_abs().to_string().len()).unwrap_or(0);
            (lead + 2).clamp(2, 12)
        };
        let text = format!("{:.*}", digits as usize, size.round_dp(digits));
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, "00"));
        let sign = if usd.is_sign_negative() && !size.is_zero() { "−" } else { "" };
        write!(f, "{sign}${}.{fraction}", grouped(whole))
    }
}

/// Groups the digits of a whole number by thousands: "1234567" → "1,234,567".
#[must_use]
pub fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Formats a count with its noun: "1 request", "2,000 requests".
#[must_use]
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(&n.to_string()), if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn count_uses_the_singular_for_one() {
        assert_eq!([0, 1, 2_000].map(|n| count(n, "job", "jobs")), ["0 jobs", "1 job", "2,000 jobs"]);
    }

    #[test]
    fn amounts_show_cents_or_two_significant_digits() {
        let shown = |usd: &str| usd.parse().ok().and_then(Picos::from_usd).unwrap().to_string();
        assert_eq!(shown("0"), "$0.00");
        assert_eq!(shown("0.0042"), "$0.0042");
        assert_eq!(shown("0.00012345"), "$0.00012");
        assert_eq!(shown("0.5"), "$0.50");
        assert_eq!(shown("12.4"), "$12.40");
        assert_eq!(shown("1234567.891"), "$1,234,567.89");
        assert_eq!(shown("-3"), "−$3.00");
    }

    #[test]
    fn price_is_parsed_exactly_or_rejected() {
        assert_eq!(MicrosPerMillion::parse_usd("0.025"), Some(MicrosPerMillion(25_000)));
        assert_eq!(MicrosPerMillion::parse_usd(" 15 "), Some(MicrosPerMillion(15_000_000)));
        for bad in ["-1", "0.0000001", "one", "", "1e3x"] {
            assert_eq!(MicrosPerMillion::parse_usd(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn price_times_tokens_is_the_decimal_product(micros in 0_i64..100_000_000, tokens in 0_u64..2_000_000) {
            let cost = MicrosPerMillion(micros).of(tokens);
            let oracle = Decimal::new(micros, 6) * Decimal::from(tokens) / Decimal::from(1_000_000);
            prop_assert_eq!(cost.to_usd(), oracle);
            prop_assert_eq!(Picos::from_usd(cost.to_usd()), Some(cost));
        }
    }
}

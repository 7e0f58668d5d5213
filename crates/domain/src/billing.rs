//! Subscriptions, in Stripe's terms, as far as plans and pages depend on them.

use crate::{PlanId, UserId};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use time::OffsetDateTime;

/// How often a subscription is paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// Every month.
    #[default]
    Month,
    /// Every year.
    Year,
    /// Anything else that somebody set up at Stripe by hand.
    Other,
}

impl Period {
    /// As forms, addresses and the database write it.
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

/// A subscription's state: <https://docs.stripe.com/api/subscriptions/object#subscription_object-status>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionStatus {
    /// Not paid yet, and used already.
    Trialing,
    /// Paid.
    Active,
    /// A payment failed; Stripe tries again.
    PastDue,
    /// Payments failed for good; the subscription stands.
    Unpaid,
    /// Over.
    Canceled,
    /// The first payment isn't through.
    Incomplete,
    /// The first payment never came through.
    IncompleteExpired,
    /// A trial that ended without a card.
    Paused,
    /// A word that this version doesn't know: nothing is granted for it.
    Unknown,
}

impl SubscriptionStatus {
    /// Stripe's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Unpaid => "unpaid",
            Self::Canceled => "canceled",
            Self::Incomplete => "incomplete",
            Self::IncompleteExpired => "incomplete_expired",
            Self::Paused => "paused",
            Self::Unknown => "unknown",
        }
    }

    /// Reads Stripe's word; one that isn't known grants nothing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "trialing" => Self::Trialing,
            "active" => Self::Active,
            "past_due" => Self::PastDue,
            "unpaid" => Self::Unpaid,
            "canceled" => Self::Canceled,
            "incomplete" => Self::Incomplete,
            "incomplete_expired" => Self::IncompleteExpired,
            "paused" => Self::Paused,
            _ => Self::Unknown,
        }
    }

    /// Whether it can never bring money again.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Canceled | Self::IncompleteExpired)
    }

    /// Whether a payment is open.
    #[must_use]
    pub fn is_overdue(self) -> bool {
        matches!(self, Self::PastDue | Self::Unpaid)
    }

    /// Whether it may still bring money: a second one beside it would be paid twice.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Trialing | Self::Active | Self::PastDue | Self::Unpaid | Self::Paused)
    }
}

/// An amount in the smallest unit of its currency, as Stripe counts: cents for usd, whole yen for jpy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Smallest units.
    pub minor: i64,
    /// Three lower-case letters.
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

/// A subscription as it was when last fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Stripe's id.
    pub id: String,
    /// Stripe's id of who pays.
    pub customer_id: String,
    /// Whose it is here; none where nobody's.
    pub user_id: Option<UserId>,
    /// The plan its product stands for.
    pub plan: Option<PlanId>,
    /// Its state.
    pub status: SubscriptionStatus,
    /// How often it is paid.
    pub period: Period,
    /// What a period costs.
    pub amount: Amount,
    /// Whether discounts or taxes come on top of that.
    pub is_adjusted: bool,
    /// When it began.
    pub created_at: OffsetDateTime,
    /// When the paid period ends, and the next begins.
    pub period_end: OffsetDateTime,
    /// When it ends, where that is decided.
    pub ends_at: Option<OffsetDateTime>,
    /// When its trial ends.
    pub trial_end: Option<OffsetDateTime>,
    /// When it was over.
    pub ended_at: Option<OffsetDateTime>,
    /// While a payment is overdue: how long the plan is kept.
    pub grace_until: Option<OffsetDateTime>,
}

impl Subscription {
    /// What a period costs, in words: "$20 a month".
    #[must_use]
    pub fn price(&self) -> String {
        let every = match self.period {
            Period::Other => "period",
            period => period.as_str(),
        };
        let adjusted = if self.is_adjusted { " before discounts and taxes" } else { "" };
        format!("{} a {every}{adjusted}", self.amount)
    }

    /// Whether it pays for its plan now. The same rule stands in SQL (`store::subscription::entitle`).
    #[must_use]
    pub fn holds(&self, now: OffsetDateTime) -> bool {
        match self.status {
            SubscriptionStatus::Trialing | SubscriptionStatus::Active => true,
            SubscriptionStatus::PastDue => self.grace_until.is_some_and(|until| now < until),
            _ => false,
        }
    }
}

/// An invoice as it was when last fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    /// Stripe's id.
    pub id: String,
    /// Stripe's id of who pays.
    pub customer_id: String,
    /// The subscription it is for.
    pub subscription_id: Option<String>,
    /// What is printed on it.
    pub number: Option<String>,
    /// Stripe's word: draft, open, paid, void, uncollectible.
    pub status: String,
    /// What was asked for.
    pub due: Amount,
    /// What was paid, smallest units.
    pub paid_minor: i64,
    /// Where it can be read and paid.
    pub url: Option<String>,
    /// When it was written.
    pub created_at: OffsetDateTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_users_write_them() {
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

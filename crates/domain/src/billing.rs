//! Subscriptions and invoices in Stripe's terms: the parts that plans and pages need.

use crate::price::{Amount, Period};
use crate::{PlanId, UserId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A subscription's state: <https://docs.stripe.com/api/subscriptions/object#subscription_object-status>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionStatus {
    /// In a trial: not paid yet, but usable.
    Trialing,
    /// Paid.
    Active,
    /// A payment failed; Stripe retries it.
    PastDue,
    /// Payments failed permanently, but the subscription has not ended.
    Unpaid,
    /// Ended.
    Canceled,
    /// The first payment hasn't succeeded yet.
    Incomplete,
    /// The first payment never succeeded.
    IncompleteExpired,
    /// The trial ended without a card.
    Paused,
    /// A status that this version doesn't support; it grants nothing.
    Unknown,
}

impl SubscriptionStatus {
    /// Returns Stripe's name of the status.
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

    /// Parses Stripe's name of the status; unknown names become [`Self::Unknown`], which grants nothing.
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

    /// Whether the subscription has ended and can never be charged again.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Canceled | Self::IncompleteExpired)
    }

    /// Whether a payment is overdue.
    #[must_use]
    pub fn is_overdue(self) -> bool {
        matches!(self, Self::PastDue | Self::Unpaid)
    }

    /// Whether the subscription may still be charged: with a second one, the user would pay twice.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Trialing | Self::Active | Self::PastDue | Self::Unpaid | Self::Paused)
    }
}

/// A subscription as of the last fetch from Stripe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Stripe's id of the object.
    pub id: String,
    /// Stripe's id of the paying customer.
    pub customer_id: String,
    /// The user it belongs to; `None` if it belongs to no user.
    pub user_id: Option<UserId>,
    /// The plan that its product represents.
    pub plan: Option<PlanId>,
    /// Its status.
    pub status: SubscriptionStatus,
    /// Its billing interval.
    pub period: Period,
    /// The price of a period.
    pub amount: Amount,
    /// Whether discounts or taxes change that price.
    pub is_adjusted: bool,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When the paid period ends and the next one begins.
    pub period_end: OffsetDateTime,
    /// When it will end, if it is set to end.
    pub ends_at: Option<OffsetDateTime>,
    /// When its trial ends.
    pub trial_end: Option<OffsetDateTime>,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
    /// While a payment is overdue: until when the plan is kept.
    pub grace_until: Option<OffsetDateTime>,
}

impl Subscription {
    /// Returns the price of a period as text, such as "$20 a month".
    #[must_use]
    pub fn price(&self) -> String {
        let every = match self.period {
            Period::Other => "period",
            period => period.as_str(),
        };
        let adjusted = if self.is_adjusted { " before discounts and taxes" } else { "" };
        format!("{} a {every}{adjusted}", self.amount)
    }

    /// Whether it pays for its plan at `now`. The SQL function `entitlement` implements the same rule.
    #[must_use]
    pub fn holds(&self, now: OffsetDateTime) -> bool {
        match self.status {
            SubscriptionStatus::Trialing | SubscriptionStatus::Active => true,
            SubscriptionStatus::PastDue => self.grace_until.is_some_and(|until| now < until),
            _ => false,
        }
    }
}

/// An invoice as of the last fetch from Stripe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    /// Stripe's id of the object.
    pub id: String,
    /// Stripe's id of the paying customer.
    pub customer_id: String,
    /// The subscription it is for.
    pub subscription_id: Option<String>,
    /// The number printed on it.
    pub number: Option<String>,
    /// Stripe's status: draft, open, paid, void or uncollectible.
    pub status: String,
    /// The amount due.
    pub due: Amount,
    /// The amount paid, in the smallest unit of the currency.
    pub paid_minor: i64,
    /// What it charges; `None` where it isn't known.
    pub invoiced: Option<Invoiced>,
    /// The page where it can be viewed and paid.
    pub url: Option<String>,
    /// When it was created.
    pub created_at: OffsetDateTime,
}

/// What an invoice charges compared with list prices, in the smallest unit of the currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoiced {
    /// What it would have charged at list prices: before discounts and with inclusive taxes.
    pub list_minor: i64,
    /// What it charges without taxes, after discounts and credit notes.
    pub net_minor: i64,
    /// What credit notes took off, without taxes.
    pub credited_minor: i64,
}

/// A billing event that the owner should check, such as a refund or a chargeback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillingFlag {
    /// Its kind, such as `refund`, `dispute` or `orphan`.
    pub kind: String,
    /// Stripe's id of the object.
    pub object_id: String,
    /// The user concerned, if known.
    pub user_id: Option<UserId>,
    /// The amount concerned, if any.
    pub amount: Option<Amount>,
    /// When the flag was raised.
    pub created_at: OffsetDateTime,
    /// The user's email. Set when a flag is loaded and ignored when one is raised.
    pub email: Option<String>,
}

/// A Stripe event that failed too often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Stripe's id of the event.
    pub id: String,
    /// Stripe's type of the event.
    pub kind: String,
    /// Error of the last attempt.
    pub error: Option<String>,
    /// Number of attempts.
    pub attempts: i32,
    /// When it became a dead letter.
    pub dead_at: OffsetDateTime,
}

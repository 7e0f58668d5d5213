//! The fields we read of Stripe's objects, and their conversion to domain types.

use domain::{Amount, Invoice, Period, PlanId, Subscription, SubscriptionStatus, UserId};
use miniserde::Deserialize;
use std::collections::HashMap;
use time::OffsetDateTime;

/// A moment of Stripe's: seconds.
pub(crate) fn moment(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A page of a list: <https://docs.stripe.com/api/pagination>.
#[derive(Deserialize)]
pub(crate) struct Page<T> {
    pub data: Vec<T>,
    pub has_more: Option<bool>,
}

/// Anything that has an id.
#[derive(Deserialize)]
pub(crate) struct Named {
    pub id: String,
}

/// Who pays.
#[derive(Clone, Debug, Deserialize)]
pub struct Customer {
    /// Stripe's id.
    pub id: String,
    /// Set on what is left of one that was deleted.
    pub(crate) deleted: Option<bool>,
    pub(crate) metadata: Option<HashMap<String, String>>,
}

impl Customer {
    /// Whose it is, as we wrote on it when we made it.
    #[must_use]
    pub fn user_id(&self) -> Option<UserId> {
        self.metadata.as_ref()?.get(crate::customer::USER_ID)?.parse().ok()
    }
}

#[derive(Deserialize)]
pub(crate) struct RawSubscription {
    id: String,
    customer: String,
    status: String,
    created: i64,
    cancel_at_period_end: Option<bool>,
    cancel_at: Option<i64>,
    ended_at: Option<i64>,
    trial_end: Option<i64>,
    discounts: Option<Vec<miniserde::json::Value>>,
    automatic_tax: Option<RawTax>,
    // Until 2025-03-31 the subscription's, then its items'.
    current_period_end: Option<i64>,
    items: Page<RawItem>,
}

#[derive(Deserialize)]
struct RawTax {
    enabled: Option<bool>,
}

#[derive(Deserialize)]
struct RawItem {
    id: String,
    price: RawPrice,
    quantity: Option<i64>,
    current_period_end: Option<i64>,
}

#[derive(Deserialize)]
pub(crate) struct RawPrice {
    pub id: String,
    pub product: String,
    pub unit_amount: Option<i64>,
    pub currency: String,
    pub lookup_key: Option<String>,
    pub recurring: Option<RawRecurring>,
}

#[derive(Deserialize)]
pub(crate) struct RawRecurring {
    pub interval: String,
    pub interval_count: Option<i64>,
}

/// A subscription as Stripe has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Stripe's id.
    pub id: String,
    /// Who pays.
    pub customer_id: String,
    /// Its state.
    pub status: SubscriptionStatus,
    /// What is paid for; none where nothing is.
    pub product_id: Option<String>,
    /// The price that is paid.
    pub price_id: Option<String>,
    /// The line that a change of plan changes.
    pub item_id: Option<String>,
    /// How often.
    pub period: Period,
    /// What a period costs.
    pub amount: Amount,
    /// Whether discounts or taxes come on top of that.
    pub is_adjusted: bool,
    /// When it began.
    pub created_at: OffsetDateTime,
    /// When the paid period ends.
    pub period_end: OffsetDateTime,
    /// When it ends, where that is decided.
    pub ends_at: Option<OffsetDateTime>,
    /// When its trial ends.
    pub trial_end: Option<OffsetDateTime>,
    /// When it was over.
    pub ended_at: Option<OffsetDateTime>,
}

impl Fetched {
    /// As we keep it, with what only we know.
    #[must_use]
    pub fn kept(
        self,
        user_id: Option<UserId>,
        plan: Option<PlanId>,
        grace_until: Option<OffsetDateTime>,
    ) -> Subscription {
        Subscription {
            id: self.id,
            customer_id: self.customer_id,
            user_id,
            plan,
            status: self.status,
            period: self.period,
            amount: self.amount,
            is_adjusted: self.is_adjusted,
            created_at: self.created_at,
            period_end: self.period_end,
            ends_at: self.ends_at,
            trial_end: self.trial_end,
            ended_at: self.ended_at,
            grace_until,
        }
    }
}

impl From<RawSubscription> for Fetched {
    fn from(raw: RawSubscription) -> Self {
        // A plan is one line; what else somebody put on the subscription by hand only adds to its price.
        let total = raw
            .items
            .data
            .iter()
            .map(|item| item.price.unit_amount.unwrap_or(0).saturating_mul(item.quantity.unwrap_or(1)));
        let minor = total.fold(0_i64, i64::saturating_add);
        let line = raw.items.data.into_iter().next();
        let ends = line.as_ref().and_then(|line| line.current_period_end).or(raw.current_period_end);
        let period_end = moment(ends.unwrap_or(raw.created));
        Self {
            id: raw.id,
            customer_id: raw.customer,
            status: SubscriptionStatus::parse(&raw.status),
            product_id: line.as_ref().map(|line| line.price.product.clone()),
            price_id: line.as_ref().map(|line| line.price.id.clone()),
            item_id: line.as_ref().map(|line| line.id.clone()),
            period: line.as_ref().and_then(|line| line.price.recurring.as_ref()).map_or(Period::Other, period),
            amount: Amount { minor, currency: line.map_or_else(|| "usd".to_owned(), |line| line.price.currency) },
            is_adjusted: raw.discounts.is_some_and(|discounts| !discounts.is_empty())
                || raw.automatic_tax.and_then(|tax| tax.enabled).unwrap_or(false),
            created_at: moment(raw.created),
            period_end,
            ends_at: raw
                .cancel_at
                .map(moment)
                .or_else(|| raw.cancel_at_period_end.unwrap_or(false).then_some(period_end))
                .filter(|_| raw.ended_at.is_none()),
            trial_end: raw.trial_end.map(moment),
            ended_at: raw.ended_at.map(moment),
        }
    }
}

pub(crate) fn period(recurring: &RawRecurring) -> Period {
    match (recurring.interval.as_str(), recurring.interval_count.unwrap_or(1)) {
        ("month", 1) => Period::Month,
        ("year", 1) => Period::Year,
        _ => Period::Other,
    }
}

#[derive(Deserialize)]
pub(crate) struct RawInvoice {
    id: Option<String>,
    customer: Option<String>,
    number: Option<String>,
    status: Option<String>,
    amount_due: i64,
    amount_paid: i64,
    currency: String,
    hosted_invoice_url: Option<String>,
    created: i64,
    // Until 2025-03-31 on the invoice, then under its parent.
    subscription: Option<String>,
    parent: Option<RawParent>,
}

#[derive(Deserialize)]
struct RawParent {
    subscription_details: Option<RawDetails>,
}

#[derive(Deserialize)]
struct RawDetails {
    subscription: Option<String>,
}

impl RawInvoice {
    /// In our words; none for one that has no id yet.
    pub fn kept(self) -> Option<Invoice> {
        Some(Invoice {
            id: self.id?,
            customer_id: self.customer?,
            subscription_id: self
                .parent
                .and_then(|parent| parent.subscription_details)
                .and_then(|details| details.subscription)
                .or(self.subscription),
            number: self.number,
            status: self.status.unwrap_or_else(|| "draft".to_owned()),
            due: Amount { minor: self.amount_due, currency: self.currency },
            paid_minor: self.amount_paid,
            url: self.hosted_invoice_url,
            created_at: moment(self.created),
        })
    }
}

/// What Stripe knows of a customer.
#[derive(Clone, Debug)]
pub enum Found {
    /// They are there.
    Here(Customer),
    /// They were deleted, and with them what they paid.
    Deleted,
    /// This Stripe account never had them: a key of another account, or of another mode.
    Never,
}

/// A charge, for refunds and disputes.
#[derive(Clone, Debug, Deserialize)]
pub struct Charge {
    /// Stripe's id.
    pub id: String,
    /// Who paid.
    pub customer: Option<String>,
    /// What was given back, smallest units.
    pub amount_refunded: Option<i64>,
    /// Three lower-case letters.
    pub currency: String,
}

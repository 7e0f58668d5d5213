//! The fields of Stripe's objects that we read, and their conversion to domain types.

use domain::{Amount, Period, PlanId, Subscription, SubscriptionStatus, UserId};
use miniserde::Deserialize;
use std::collections::HashMap;
use time::OffsetDateTime;

/// Converts a Stripe timestamp, in Unix seconds. One that is out of range becomes the Unix epoch.
pub(crate) fn moment(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A page of a list: <https://docs.stripe.com/api/pagination>.
#[derive(Deserialize)]
pub(crate) struct Page<T> {
    pub data: Vec<T>,
    pub has_more: Option<bool>,
}

/// An object of which only the id is read.
#[derive(Deserialize)]
pub(crate) struct Named {
    pub id: String,
}

/// Metadata key for the id of the user a customer belongs to.
pub(crate) const USER_ID: &str = "user_id";

/// A customer in Stripe.
#[derive(Clone, Debug, Deserialize)]
pub struct Customer {
    /// Stripe's id.
    pub id: String,
    /// `true` on the stub that Stripe keeps of a deleted customer.
    pub(crate) deleted: Option<bool>,
    pub(crate) metadata: Option<HashMap<String, String>>,
    pub(crate) email: Option<String>,
}

impl Customer {
    /// Returns the id of a user that the metadata name, in whatever form.
    pub(crate) fn named_user(&self) -> Option<&str> {
        self.metadata.as_ref()?.get(USER_ID).map(String::as_str)
    }

    /// Returns the user the customer belongs to, from the metadata set when it was created.
    #[must_use]
    pub fn user_id(&self) -> Option<UserId> {
        self.metadata.as_ref()?.get(USER_ID)?.parse().ok()
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
    // On the subscription until API version 2025-03-31, since then on its items.
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
    pub usage_type: Option<String>,
}

impl RawItem {
    /// Returns what the item costs in a period. What a metered item costs is known only afterwards.
    fn minor(&self) -> i64 {
        let usage = self.price.recurring.as_ref().and_then(|recurring| recurring.usage_type.as_deref());
        match usage {
            Some("metered") => 0,
            _ => self.price.unit_amount.unwrap_or(0).saturating_mul(self.quantity.unwrap_or(1)),
        }
    }
}

/// A subscription as fetched from Stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Stripe's id.
    pub id: String,
    /// Id of the customer who pays.
    pub customer_id: String,
    /// Its status.
    pub status: SubscriptionStatus,
    /// Product of the plan's item; `None` if there are no items.
    pub product_id: Option<String>,
    /// Price of the plan's item.
    pub price_id: Option<String>,
    /// Id of the plan's item, which a change of plan updates.
    pub item_id: Option<String>,
    /// Billing period.
    pub period: Period,
    /// Price of one period: the sum over all items that aren't metered.
    pub amount: Amount,
    /// Whether discounts or automatic taxes change that amount.
    pub is_adjusted: bool,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When the paid period ends.
    pub period_end: OffsetDateTime,
    /// When it will end, if a cancellation is scheduled.
    pub ends_at: Option<OffsetDateTime>,
    /// When its trial ends.
    pub trial_end: Option<OffsetDateTime>,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
}

impl Fetched {
    /// Converts to a domain subscription, adding the fields that only our database has.
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

impl RawSubscription {
    /// Converts the subscription. Its plan's item is the first one with one of the products, and without any the first of all: items that were
    /// added in Stripe may stand before it, and only add to the price.
    pub(crate) fn read(self, products: &[(String, PlanId)]) -> Fetched {
        let raw = self;
        let minor = raw.items.data.iter().map(RawItem::minor).fold(0_i64, i64::saturating_add);
        let is_plan = |item: &RawItem| products.iter().any(|(product, _)| *product == item.price.product);
        let own = raw.items.data.iter().position(is_plan).unwrap_or(0);
        let line = raw.items.data.into_iter().nth(own);
        let ends = line.as_ref().and_then(|line| line.current_period_end).or(raw.current_period_end);
        let period_end = moment(ends.unwrap_or(raw.created));
        Fetched {
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

/// Result of looking up a customer in Stripe.
#[derive(Clone, Debug)]
pub enum Found {
    /// The customer exists.
    Current(Customer),
    /// The customer was deleted, and their subscriptions with them.
    Deleted,
    /// The customer isn't in this Stripe account: the key is for another account or another mode.
    Unknown,
}

/// A charge, for refunds and disputes.
#[derive(Clone, Debug, Deserialize)]
pub struct Charge {
    /// Stripe's id.
    pub id: String,
    /// Id of the customer who paid.
    pub customer: Option<String>,
    /// Refunded amount in the currency's smallest unit.
    pub amount_refunded: Option<i64>,
    /// Currency code, three lower-case letters.
    pub currency: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field note 89: a metered item before the plan's item neither hides it nor changes its price.
    #[test]
    fn the_plans_item_counts_wherever_it_stands() {
        let item = |id: &str, product: &str, amount: i64, usage: &str, end: i64| {
            format!(
                r#"{{"id":"{id}","quantity":1,"current_period_end":{end},"price":{{"id":"price_{id}","product":"{product}",
                    "unit_amount":{amount},"currency":"eur","recurring":{{"interval":"month","usage_type":"{usage}"}}}}}}"#
            )
        };
        let read = |items: &[String]| {
            let text = format!(
                r#"{{"id":"sub_1","customer":"cus_1","status":"active","created":5,"cancel_at_period_end":true,
                    "items":{{"data":[{}]}}}}"#,
                items.join(",")
            );
            let raw: RawSubscription = miniserde::json::from_str(&text).unwrap();
            raw.read(&[("plan_pro".to_owned(), PlanId("pro".to_owned()))])
        };
        let plan = item("si_plan", "plan_pro", 2_000, "licensed", 70);
        let (metered, seats) =
            (item("si_meter", "calls", 10, "metered", 60), item("si_seats", "seats", 500, "licensed", 70));
        for items in [[metered.clone(), plan.clone(), seats.clone()], [seats.clone(), metered.clone(), plan.clone()]] {
            let found = read(&items);
            assert_eq!(found.product_id.as_deref(), Some("plan_pro"));
            assert_eq!((found.item_id.as_deref(), found.price_id.as_deref()), (Some("si_plan"), Some("price_si_plan")));
            assert_eq!((found.amount.minor, found.amount.currency.as_str()), (2_500, "eur"));
            assert_eq!((found.period_end, found.ends_at), (moment(70), Some(moment(70))));
        }
        // Without a plan's item it is the first one, and none of a plan.
        assert_eq!(read(&[metered, seats]).product_id.as_deref(), Some("calls"));
        assert_eq!(read(&[]).product_id, None);
    }
}

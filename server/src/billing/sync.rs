//! Fetches one customer's subscriptions and invoices from Stripe and writes them with everything that follows: the plan, mail, flags. All
//! under the customer's lock, so that the last write has the latest state, in whatever order and however often events arrive (field notes
//! 34 and 35).

use super::client::Billing;
use crate::mail::{self, Mail};
use ::billing::{Fetched, Found};
use anyhow::Context as _;
use domain::{Amount, BillingFlag, Invoice, PlanId, Subscription, SubscriptionStatus, UserId};
use store::subscription::Entitled;
use store::{Tx, account, billing_flag, invoice, plan, subscription};
use time::OffsetDateTime;

/// Time before the end of a trial at which the user is notified.
pub(crate) const TRIAL_NOTICE: time::Duration = time::Duration::days(3);

/// A synced customer.
pub(crate) struct Synced {
    /// Whether the customer no longer exists at Stripe.
    pub is_gone: bool,
    /// All subscriptions, including ended ones.
    pub subscriptions: Vec<Fetched>,
    /// The resulting plan; `None` if no user here belongs to the customer.
    pub entitled: Option<Entitled>,
}

/// How to handle a customer that never existed in this Stripe account.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnknownCustomer {
    /// Fail if the customer has a live subscription here: the key belongs to another account, and no user loses a plan because of that.
    Refuse,
    /// Remove the customer: the owner has confirmed that it belonged to another account.
    Remove,
}

/// A customer as fetched from Stripe.
struct FetchedCustomer {
    /// The user whom the app created the customer for.
    created_for: Option<UserId>,
    subscriptions: Vec<Fetched>,
    invoices: Vec<Invoice>,
}

/// Fetches a customer and writes its state. While Stripe responds, only the customer is locked.
pub(crate) async fn sync_customer(
    tx: &mut Tx,
    billing: &Billing,
    customer_id: &str,
    unknown_customer: UnknownCustomer,
    now: OffsetDateTime,
) -> anyhow::Result<Synced> {
    subscription::lock_customer(tx, customer_id).await?;
    let products = plan::products(&mut *tx).await?;
    let before = subscription::of_customer(&mut *tx, customer_id).await?;
    let found = match billing.stripe.customer(customer_id).await.context("customer")? {
        Found::Current(customer) => Some(FetchedCustomer {
            created_for: customer.user_id(),
            subscriptions: billing.stripe.subscriptions(customer_id, &products).await.context("subscriptions")?,
            invoices: billing.stripe.invoices(customer_id).await.context("invoices")?,
        }),
        Found::Deleted => None,
        Found::Unknown => {
            let is_known = before.iter().any(|known| known.status.is_live());
            anyhow::ensure!(
                !is_known || unknown_customer == UnknownCustomer::Remove,
                "a paying customer is unknown at Stripe: STRIPE_SECRET_KEY is of another account or mode"
            );
            None
        }
    };
    let Some(FetchedCustomer { created_for, subscriptions, invoices }) = found else {
        return end_customer(tx, customer_id, &before, now).await;
    };
    let user_id = owner(tx, customer_id, created_for, now).await?;
    for written in &invoices {
        invoice::put(&mut *tx, written, user_id).await?;
    }
    let plan_of = |fetched: &Fetched| {
        let product = fetched.product_id.as_ref()?;
        products.iter().find(|(known, _)| known == product).map(|(_, plan)| plan.clone())
    };
    let mut kept = Vec::new();
    for fetched in &subscriptions {
        let known = before.iter().find(|known| known.id == fetched.id);
        let grace_until = (fetched.status == SubscriptionStatus::PastDue)
            .then(|| overdue_since(fetched, &invoices, known, billing.grace, now) + billing.grace);
        let written = fetched.clone().kept(user_id, plan_of(fetched), grace_until);
        subscription::put(&mut *tx, &written, now).await?;
        if let (Some(user_id), Some(_)) = (user_id, fetched.trial_end) {
            subscription::tried(&mut *tx, user_id, &fetched.id, fetched.created_at).await?;
        }
        kept.push(written);
    }
    raise_flags(tx, user_id, &kept, now).await?;
    let entitled = update_plan(tx, user_id, now).await?;
    if let Some(user_id) = user_id {
        for written in &kept {
            let known = before.iter().find(|known| known.id == written.id);
            queue_mail(tx, user_id, known, written, now).await?;
        }
    }
    Ok(Synced { is_gone: false, subscriptions, entitled })
}

/// Ends the subscriptions of a customer that no longer exists at Stripe, and unlinks it.
async fn end_customer(
    tx: &mut Tx,
    customer_id: &str,
    before: &[Subscription],
    now: OffsetDateTime,
) -> anyhow::Result<Synced> {
    let user_id = match account::by_customer(&mut *tx, customer_id).await? {
        Some(user_id) => Some(user_id),
        None => before.iter().find_map(|known| known.user_id),
    };
    if let Some(user_id) = user_id {
        account::lock(tx, user_id).await?;
    }
    for known in before.iter().filter(|known| known.ended_at.is_none()) {
        let over = Subscription {
            status: SubscriptionStatus::Canceled,
            ended_at: Some(now),
            ends_at: None,
            grace_until: None,
            ..known.clone()
        };
        subscription::put(&mut *tx, &over, now).await?;
    }
    account::unlink_customer(&mut *tx, customer_id).await?;
    let entitled = update_plan(tx, user_id, now).await?;
    Ok(Synced { is_gone: true, subscriptions: Vec::new(), entitled })
}

/// Returns the user that a customer belongs to. Restores a lost link to a customer that the app created.
async fn owner(
    tx: &mut Tx,
    customer_id: &str,
    created_for: Option<UserId>,
    now: OffsetDateTime,
) -> anyhow::Result<Option<UserId>> {
    let owner = match account::by_customer(&mut *tx, customer_id).await? {
        Some(user_id) => Some(user_id),
        None => created_for,
    };
    let Some(user_id) = owner else { return Ok(None) };
    if !account::lock(tx, user_id).await? {
        return Ok(None);
    }
    if account::link_customer(&mut *tx, user_id, customer_id).await?.as_deref() != Some(customer_id) {
        // The user is linked to another customer. What they pay here counts anyway, and the owner should check it.
        raise(tx, "two_customers", customer_id, Some(user_id), None, now).await?;
    }
    Ok(Some(user_id))
}

/// Returns since when a payment is overdue: the oldest open invoice after the last paid one, because Stripe's own status follows the latest
/// invoice. Without such an invoice, the time at which it was first seen as overdue.
fn overdue_since(
    fetched: &Fetched,
    invoices: &[Invoice],
    known: Option<&Subscription>,
    grace: time::Duration,
    now: OffsetDateTime,
) -> OffsetDateTime {
    let theirs = || {
        let of = |invoice: &&Invoice| invoice.subscription_id.as_deref() == Some(fetched.id.as_str());
        invoices.iter().filter(of).filter(|invoice| invoice.due.minor > 0)
    };
    let paid = theirs().filter(|invoice| invoice.status == "paid").map(|invoice| invoice.created_at).max();
    let open = theirs().filter(|invoice| invoice.status == "open" && paid.is_none_or(|paid| invoice.created_at > paid));
    let first = open.map(|invoice| invoice.created_at).min();
    first.or_else(|| Some(known?.grace_until? - grace)).unwrap_or(now)
}

async fn update_plan(tx: &mut Tx, user_id: Option<UserId>, now: OffsetDateTime) -> anyhow::Result<Option<Entitled>> {
    match user_id {
        Some(user_id) => Ok(subscription::entitle(tx, user_id, now).await?),
        None => Ok(None),
    }
}

/// Raises and clears flags that the owner should check.
async fn raise_flags(
    tx: &mut Tx,
    user_id: Option<UserId>,
    kept: &[Subscription],
    now: OffsetDateTime,
) -> anyhow::Result<()> {
    let live: Vec<_> = kept.iter().filter(|subscription| subscription.status.is_live()).collect();
    for resolved in kept.iter().filter(|found| user_id.is_some() || found.status.is_over()) {
        billing_flag::clear(&mut *tx, "orphan", &resolved.id, now).await?;
    }
    for subscription in &live {
        let amount = Some(subscription.amount.clone());
        if subscription.plan.is_none() {
            raise(tx, "unknown_product", &subscription.id, user_id, amount, now).await?;
        } else if user_id.is_none() {
            raise(tx, "orphan", &subscription.id, None, amount, now).await?;
        }
    }
    if let [_, second, ..] = live.as_slice() {
        raise(tx, "two_subscriptions", &second.id, user_id, Some(second.amount.clone()), now).await?;
    }
    Ok(())
}

pub(crate) async fn raise(
    tx: &mut Tx,
    kind: &str,
    object_id: &str,
    user_id: Option<UserId>,
    amount: Option<Amount>,
    now: OffsetDateTime,
) -> anyhow::Result<()> {
    let flag = BillingFlag {
        kind: kind.to_owned(),
        object_id: object_id.to_owned(),
        user_id,
        amount,
        created_at: now,
        email: None,
    };
    Ok(billing_flag::raise(&mut *tx, &flag).await?)
}

/// Queues the mail that follows from a state. Each mail has a unique key, so that syncing the same state again sends nothing.
async fn queue_mail(
    tx: &mut Tx,
    user_id: UserId,
    known: Option<&Subscription>,
    written: &Subscription,
    now: OffsetDateTime,
) -> anyhow::Result<()> {
    let Some(plan) = &written.plan else { return Ok(()) };
    let plan = name(tx, plan).await?;
    if let Some(mail) = trial_ending(written, &plan, now) {
        mail::queue(tx, user_id, &mail, &written.id, now).await?;
    }
    if let (SubscriptionStatus::PastDue, Some(until)) =
        (written.status, written.grace_until.filter(|until| now < *until))
    {
        mail::queue(tx, user_id, &Mail::PaymentFailed { plan: plan.clone(), until }, &written.id, now).await?;
    }
    let was_held = known.is_some_and(|known| known.ended_at.is_none() && known.status.is_live());
    if was_held && written.status == SubscriptionStatus::Canceled {
        mail::queue(tx, user_id, &Mail::PlanEnded { plan }, &written.id, now).await?;
    }
    Ok(())
}

/// Returns the notice of a trial that ends soon and then renews as a paid subscription.
pub(crate) fn trial_ending(subscription: &Subscription, plan: &str, now: OffsetDateTime) -> Option<Mail> {
    let at = subscription.trial_end.filter(|at| now < *at && *at - now <= TRIAL_NOTICE)?;
    let goes_on = subscription.status == SubscriptionStatus::Trialing && subscription.ends_at.is_none();
    goes_on.then(|| Mail::TrialEnding { plan: plan.to_owned(), at, price: subscription.price() })
}

/// Returns the name of a plan as shown to users.
pub(crate) async fn name(tx: &mut Tx, id: &PlanId) -> anyhow::Result<String> {
    let plans = plan::list(&mut *tx).await?;
    Ok(plans.into_iter().find(|plan| plan.id == *id).map_or_else(|| id.0.clone(), |plan| plan.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The notice never states a price that discounts or taxes change.
    #[test]
    fn trial_notice_states_the_price_before_discounts_and_taxes() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut trial = Subscription {
            id: "sub".into(),
            customer_id: "cus".into(),
            user_id: None,
            plan: None,
            status: SubscriptionStatus::Trialing,
            period: domain::Period::Month,
            amount: Amount { minor: 2_000, currency: "usd".into() },
            is_adjusted: true,
            created_at: now,
            period_end: now,
            ends_at: None,
            trial_end: Some(now + TRIAL_NOTICE),
            ended_at: None,
            grace_until: None,
        };
        let price = |trial: &Subscription, now| match trial_ending(trial, "Pro", now) {
            Some(Mail::TrialEnding { price, .. }) => Some(price),
            _ => None,
        };
        assert_eq!(price(&trial, now).as_deref(), Some("$20 a month before discounts and taxes"));
        assert_eq!(price(&trial, now - time::Duration::SECOND), None, "too early for a notice");
        trial.is_adjusted = false;
        assert_eq!(price(&trial, now).as_deref(), Some("$20 a month"));
        trial.ends_at = trial.trial_end;
        assert_eq!(price(&trial, now), None, "no notice after cancellation");
    }
}

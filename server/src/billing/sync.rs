//! One customer's subscriptions and invoices, fetched and written down with everything that follows: the plan, mail,
//! flags. All under the customer's lock, so that the last to write is the last who fetched, whatever order events came in
//! and however often (field notes 34 and 35).

use super::Billing;
use crate::mail::{self, Mail};
use ::billing::{Fetched, Found};
use anyhow::Context as _;
use domain::{Amount, Invoice, PlanId, Subscription, SubscriptionStatus, UserId};
use store::billing_flag::Flag;
use store::subscription::Entitled;
use store::{Tx, account, billing_flag, invoice, plan, subscription};
use time::OffsetDateTime;

/// How long before a trial's end its user is notified.
pub(crate) const TRIAL_NOTICE: time::Duration = time::Duration::days(3);

/// A customer as Stripe has them now, and whose they are.
pub(crate) struct Synced {
    /// Gone at Stripe.
    pub is_gone: bool,
    /// What they have, those that are over too.
    pub subscriptions: Vec<Fetched>,
    /// The plan that followed; none where nobody here is behind it.
    pub entitled: Option<Entitled>,
}

/// What to make of a customer that this Stripe account never had.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// A mistake, where something of theirs is live here: the key is of another account, and nobody's plan goes for that.
    Refuse,
    /// The owner said so: what is here came from another account.
    Forget,
}

/// What Stripe says of a customer.
struct Said {
    /// Whom we once made them for.
    made_for: Option<UserId>,
    subscriptions: Vec<Fetched>,
    invoices: Vec<Invoice>,
}

/// Fetches a customer and writes down what Stripe says. Nothing of ours is locked but the customer while Stripe answers.
pub(crate) async fn sync_customer(
    tx: &mut Tx,
    billing: &Billing,
    customer_id: &str,
    stranger: Stranger,
    now: OffsetDateTime,
) -> anyhow::Result<Synced> {
    subscription::lock_customer(tx, customer_id).await?;
    let before = subscription::of_customer(&mut *tx, customer_id).await?;
    let said = match billing.stripe.customer(customer_id).await.context("customer")? {
        Found::Here(customer) => Some(Said {
            made_for: customer.user_id(),
            subscriptions: billing.stripe.subscriptions(customer_id).await.context("subscriptions")?,
            invoices: billing.stripe.invoices(customer_id).await.context("invoices")?,
        }),
        Found::Deleted => None,
        Found::Never => {
            let is_known = before.iter().any(|known| known.status.is_live());
            anyhow::ensure!(
                !is_known || stranger == Stranger::Forget,
                "a customer who pays here is unknown at Stripe: STRIPE_SECRET_KEY is of another account or mode"
            );
            None
        }
    };
    let Some(Said { made_for, subscriptions, invoices }) = said else {
        return gone(tx, customer_id, &before, now).await;
    };
    let user_id = owner(tx, customer_id, made_for, now).await?;
    for written in &invoices {
        invoice::put(&mut *tx, written, user_id).await?;
    }
    let products = plan::products(&mut *tx).await?;
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
    flag(tx, user_id, &kept, now).await?;
    let entitled = follow(tx, user_id, now).await?;
    if let Some(user_id) = user_id {
        for written in &kept {
            let known = before.iter().find(|known| known.id == written.id);
            tell(tx, user_id, known, written, now).await?;
        }
    }
    Ok(Synced { is_gone: false, subscriptions, entitled })
}

/// Nothing of a customer is left at Stripe.
async fn gone(tx: &mut Tx, customer_id: &str, before: &[Subscription], now: OffsetDateTime) -> anyhow::Result<Synced> {
    let user_id = match account::by_customer(&mut *tx, customer_id).await? {
        Some(user_id) => Some(user_id),
        None => before.iter().find_map(|known| known.user_id),
    };
    if let Some(user_id) = user_id {
        account::hold(tx, user_id).await?;
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
    let entitled = follow(tx, user_id, now).await?;
    Ok(Synced { is_gone: true, subscriptions: Vec::new(), entitled })
}

/// Whose customer this is. One that we made and whose link was lost is linked again.
async fn owner(
    tx: &mut Tx,
    customer_id: &str,
    made_for: Option<UserId>,
    now: OffsetDateTime,
) -> anyhow::Result<Option<UserId>> {
    let owner = match account::by_customer(&mut *tx, customer_id).await? {
        Some(user_id) => Some(user_id),
        None => made_for,
    };
    let Some(user_id) = owner else { return Ok(None) };
    if !account::hold(tx, user_id).await? {
        return Ok(None);
    }
    if account::link_customer(&mut *tx, user_id, customer_id).await?.as_deref() != Some(customer_id) {
        // They have another one. What they pay here counts nevertheless, and somebody should look.
        raise(tx, "two_customers", customer_id, Some(user_id), None, now).await?;
    }
    Ok(Some(user_id))
}

/// Since when a payment is overdue: since the oldest open invoice after the last that was paid, as Stripe's own status goes
/// by the latest; where none is seen, since we first saw it so.
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

async fn follow(tx: &mut Tx, user_id: Option<UserId>, now: OffsetDateTime) -> anyhow::Result<Option<Entitled>> {
    match user_id {
        Some(user_id) => Ok(subscription::entitle(tx, user_id, now).await?),
        None => Ok(None),
    }
}

/// Raises what the owner should look at.
async fn flag(tx: &mut Tx, user_id: Option<UserId>, kept: &[Subscription], now: OffsetDateTime) -> anyhow::Result<()> {
    let live: Vec<_> = kept.iter().filter(|subscription| subscription.status.is_live()).collect();
    for settled in kept.iter().filter(|found| user_id.is_some() || found.status.is_over()) {
        billing_flag::clear(&mut *tx, "orphan", &settled.id, now).await?;
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
    let flag =
        Flag { kind: kind.to_owned(), object_id: object_id.to_owned(), user_id, amount, created_at: now, email: None };
    Ok(billing_flag::raise(&mut *tx, &flag).await?)
}

/// Mail that follows from a state. Each has a key of its own, so that seeing the state again sends nothing.
async fn tell(
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

/// The notice of a trial that ends soon, and goes on to be paid.
pub(crate) fn trial_ending(subscription: &Subscription, plan: &str, now: OffsetDateTime) -> Option<Mail> {
    let at = subscription.trial_end.filter(|at| now < *at && *at - now <= TRIAL_NOTICE)?;
    let goes_on = subscription.status == SubscriptionStatus::Trialing && subscription.ends_at.is_none();
    goes_on.then(|| Mail::TrialEnding { plan: plan.to_owned(), at, price: subscription.price() })
}

/// What users call a plan.
pub(crate) async fn name(tx: &mut Tx, id: &PlanId) -> anyhow::Result<String> {
    let plans = plan::list(&mut *tx).await?;
    Ok(plans.into_iter().find(|plan| plan.id == *id).map_or_else(|| id.0.clone(), |plan| plan.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody is promised a price that discounts or taxes change.
    #[test]
    fn the_notice_of_a_trial_s_end_names_the_price_and_what_comes_on_top() {
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
        assert_eq!(price(&trial, now - time::Duration::SECOND), None, "not yet");
        trial.is_adjusted = false;
        assert_eq!(price(&trial, now).as_deref(), Some("$20 a month"));
        trial.ends_at = trial.trial_end;
        assert_eq!(price(&trial, now), None, "nothing is charged to somebody who has cancelled");
    }
}

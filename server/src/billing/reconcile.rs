//! Compares every live subscription with Stripe and corrects differences, such as those of lost events.

use super::client::Billing;
use super::sync::{self, UnknownCustomer};
use crate::AppState;
use ::billing::Fetched;
use anyhow::Context as _;
use domain::{PlanId, Subscription};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::reconciliation::{self, Reconciliation};
use store::{account, plan, subscription};
use time::OffsetDateTime;

/// A difference and its correction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Drift {
    /// The Stripe id of the object that differed, or the user's id if their plan was wrong.
    pub id: String,
    /// Description of the difference.
    pub what: String,
    /// Description of the correction.
    pub repair: String,
}

/// The result of one comparison.
pub(crate) struct Report {
    /// Number of subscriptions compared.
    pub checked: usize,
    /// The differences found.
    pub drift: Vec<Drift>,
}

/// Compares all subscriptions and corrects differences. Saves the report for the owner's pages.
pub(crate) async fn reconcile(db: &store::Db, billing: &Billing) -> anyhow::Result<Report> {
    let began_at = AppState::now();
    let products = plan::products(db).await?;
    let remote = billing.stripe.all_subscriptions(None, &products).await.context("listing subscriptions")?;
    let local = subscription::live(db).await?;
    let mut customers: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut differs = |customer: &str, id: &str, what: String| {
        customers.entry(customer.to_owned()).or_default().push((id.to_owned(), what));
    };
    for fetched in &remote {
        match local.iter().find(|known| known.id == fetched.id) {
            Some(known) => {
                for what in differences(known, fetched, &products) {
                    differs(&fetched.customer_id, &fetched.id, what);
                }
            }
            // A subscription that has ended on both sides is equal. One that is live at Stripe and unknown or ended here is different.
            None if fetched.status.is_live() => {
                let what = format!("{} at Stripe, missing or ended here", fetched.status.as_str());
                differs(&fetched.customer_id, &fetched.id, what);
            }
            None => {}
        }
    }
    for known in local.iter().filter(|known| !remote.iter().any(|fetched| fetched.id == known.id)) {
        differs(&known.customer_id, &known.id, format!("{} here, missing at Stripe", known.status.as_str()));
    }
    let mut drift = Vec::new();
    for (customer, found) in customers {
        let repair = match sync_or_cancel(db, billing, &customer).await {
            Ok(repair) => repair,
            Err(error) => format!("not repaired: {error:#}"),
        };
        drift.extend(found.into_iter().map(|(id, what)| Drift { id, what, repair: repair.clone() }));
    }
    for user_id in subscription::list_wrong_plans(db, AppState::now()).await? {
        let mut tx = store::begin(db).await?;
        if let Some(entitled) = subscription::entitle(&mut tx, user_id, AppState::now()).await? {
            tx.commit().await?;
            let what = format!("on plan {}, which matches neither their payments nor a grant", entitled.before);
            drift.push(Drift { id: user_id.to_string(), what, repair: format!("now on {}", entitled.after) });
        }
    }
    let report = Report { checked: remote.len(), drift };
    save(db, began_at, &report).await?;
    Ok(report)
}

/// Describes the differences between a subscription here and at Stripe.
fn differences(known: &Subscription, fetched: &Fetched, products: &[(String, PlanId)]) -> Vec<String> {
    let plan = fetched.product_id.as_ref().and_then(|id| products.iter().find(|(known, _)| known == id));
    let plan = plan.map(|(_, plan)| plan.0.as_str());
    let known_plan = known.plan.as_ref().map(|plan| plan.0.as_str());
    let mut found = Vec::new();
    if known.status != fetched.status {
        found.push(format!("{} here, {} at Stripe", known.status.as_str(), fetched.status.as_str()));
    }
    if known_plan != plan {
        found.push(format!("plan {} here, {} at Stripe", known_plan.unwrap_or("none"), plan.unwrap_or("none")));
    }
    if known.customer_id != fetched.customer_id
        || known.period_end != fetched.period_end
        || known.ends_at != fetched.ends_at
        || known.amount != fetched.amount
        || known.trial_end != fetched.trial_end
    {
        found.push("dates or price differ".to_owned());
    }
    if known.user_id.is_none() && fetched.status.is_live() {
        found.push(format!("{} at Stripe, no matching account here", fetched.status.as_str()));
    }
    found
}

/// Syncs a customer. If its account was deleted here, its subscriptions are canceled. If it has no account for any other reason, nothing is
/// changed: a restored or empty database must not cancel users' subscriptions.
async fn sync_or_cancel(db: &store::Db, billing: &Billing, customer_id: &str) -> anyhow::Result<String> {
    let mut tx = store::begin(db).await?;
    let synced = sync::sync_customer(&mut tx, billing, customer_id, UnknownCustomer::Refuse, AppState::now()).await?;
    tx.commit().await?;
    if let Some(entitled) = synced.entitled {
        return Ok(match entitled.before == entitled.after {
            true => format!("synced; the plan is still {}", entitled.after),
            false => format!("synced; plan changed from {} to {}", entitled.before, entitled.after),
        });
    }
    if account::was_deleted(db, customer_id).await? {
        close(db, billing, customer_id, &[]).await?;
        return Ok("the account was deleted: cancelled".to_owned());
    }
    Ok("no account here: flagged, not changed".to_owned())
}

/// Closes the checkouts and cancels all subscriptions of a customer whose account was deleted.
pub(crate) async fn close(
    db: &store::Db,
    billing: &Billing,
    customer_id: &str,
    sessions: &[String],
) -> anyhow::Result<()> {
    for session in sessions {
        billing.stripe.expire_checkout(session).await?;
    }
    // Which of their items is a plan's doesn't matter here.
    let theirs = billing.stripe.subscriptions(customer_id, &[]).await?;
    for found in theirs.iter().filter(|found| !found.status.is_over()) {
        billing.stripe.cancel(&found.id).await?;
    }
    let mut tx = store::begin(db).await?;
    sync::sync_customer(&mut tx, billing, customer_id, UnknownCustomer::Refuse, AppState::now()).await?;
    Ok(tx.commit().await?)
}

/// Removes customers that this Stripe account never had. Returns their number.
pub(crate) async fn remove_unknown_customers(db: &store::Db, billing: &Billing) -> anyhow::Result<usize> {
    let mut removed = 0;
    for customer in account::customers(db).await? {
        let mut tx = store::begin(db).await?;
        let synced = sync::sync_customer(&mut tx, billing, &customer, UnknownCustomer::Remove, AppState::now()).await?;
        tx.commit().await?;
        removed += usize::from(synced.is_gone);
    }
    Ok(removed)
}

async fn save(db: &store::Db, began_at: OffsetDateTime, report: &Report) -> anyhow::Result<()> {
    let row = Reconciliation {
        began_at,
        ended_at: AppState::now(),
        checked: i64::try_from(report.checked).unwrap_or(i64::MAX),
        drift: serde_json::to_value(&report.drift)?,
    };
    Ok(reconciliation::add(db, &row).await?)
}

/// Ends plans whose grace period is over and notifies their users.
pub(crate) async fn end_graces(app: &AppState) -> anyhow::Result<()> {
    for overdue in subscription::grace_over(&app.db, AppState::now()).await? {
        let mut tx = store::begin(&app.db).await?;
        let user_id = overdue.user_id;
        if let Some(user_id) = user_id {
            account::lock(&mut tx, user_id).await?;
        }
        if !subscription::end_grace(&mut tx, &overdue.id, AppState::now()).await? {
            continue;
        }
        if let (Some(user_id), Some(plan)) = (user_id, &overdue.plan) {
            subscription::entitle(&mut tx, user_id, AppState::now()).await?;
            let until = overdue.grace_until.unwrap_or_else(AppState::now);
            let mail = crate::mail::Mail::GraceOver { plan: sync::name(&mut tx, plan).await?, until };
            crate::mail::queue(&mut tx, user_id, &mail, &overdue.id, AppState::now()).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Notifies users whose trial ends soon.
pub(crate) async fn announce_trial_ends(app: &AppState) -> anyhow::Result<()> {
    let now = AppState::now();
    for trial in subscription::trials_ending(&app.db, now, now + sync::TRIAL_NOTICE).await? {
        let (Some(user_id), Some(plan)) = (trial.user_id, &trial.plan) else { continue };
        let mut tx = store::begin(&app.db).await?;
        let name = sync::name(&mut tx, plan).await?;
        if let Some(mail) = sync::trial_ending(&trial, &name, now) {
            crate::mail::queue(&mut tx, user_id, &mail, &trial.id, now).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}

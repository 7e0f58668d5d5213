//! Opens Stripe's checkout and customer portal for a user.

use super::client::{Billing, failed};
use super::sync::{self, Synced, UnknownCustomer};
use crate::AppState;
use crate::failure::internal;
use ::billing::{Fetched, NewCheckout, NewCustomer, PortalFlow, StripeError};
use anyhow::Context as _;
use domain::{Amount, BillingFlag, Period, Plan, PlanId, Problem, Viewer, brand};
use std::sync::Arc;
use store::account::Payer;
use store::{account, billing_flag, checkout, plan, subscription};

/// Kind of the flags about users whose checkout Stripe refused because they have paid in another currency.
pub(crate) const OTHER_CURRENCY: &str = "other_currency";

/// Paths that Stripe's pages return to; `BOUGHT` after a purchase.
const BACK: &str = "/billing/return";
const BOUGHT: &str = "/billing/return?bought=yes";

/// Syncs a user's customers from Stripe, if it is connected. A failure is logged: Stripe's event will sync the change later.
pub(crate) async fn sync_viewer(app: &AppState, viewer: &Viewer) {
    if let Ok(billing) = app.billing()
        && let Err(error) = fetch(app, billing, viewer).await
    {
        failed(&error);
    }
}

async fn fetch(app: &AppState, billing: &Billing, viewer: &Viewer) -> anyhow::Result<()> {
    let _lock = billing.lock_user(viewer.user_id).await;
    let Ok(_slot) = billing.acquire_slot().await else { return Ok(()) };
    for customer in customers(app, viewer).await? {
        sync_now(app, billing, &customer).await?;
    }
    Ok(())
}

/// Returns the Stripe customers of a user, the linked one first. There is one, unless an inconsistency occurred.
async fn customers(app: &AppState, viewer: &Viewer) -> anyhow::Result<Vec<String>> {
    let payer = account::payer(&app.db, viewer.user_id).await?.context("the account is gone")?;
    let live = subscription::of_user(&app.db, viewer.user_id).await?;
    let live = live.into_iter().filter(|known| known.status.is_live()).map(|known| known.customer_id);
    let mut all: Vec<String> = payer.customer_id.into_iter().chain(live).collect();
    all.dedup();
    Ok(all)
}

async fn sync_now(app: &AppState, billing: &Billing, customer_id: &str) -> anyhow::Result<Synced> {
    let mut tx = store::begin(&app.db).await?;
    let synced = sync::sync_customer(&mut tx, billing, customer_id, UnknownCustomer::Refuse, AppState::now()).await?;
    tx.commit().await?;
    Ok(synced)
}

/// Returns the URL of a checkout for a plan, or of the portal with the change filled in if the user has a subscription.
///
/// # Errors
/// Returns a problem if the plan isn't sold with this billing period or Stripe can't be reached.
pub(crate) async fn checkout_url(
    app: &AppState,
    viewer: Viewer,
    plan_id: &PlanId,
    interval: Period,
) -> Result<String, Problem> {
    let billing = Arc::clone(app.billing()?);
    let plans = plan::list(&app.db).await.map_err(|error| failed(&error.into()))?;
    let unknown =
        || Problem::invalid("plan", "This plan isn't sold with that billing period. Choose one from the pricing page.");
    let plan = plans.into_iter().find(|plan| plan.id == *plan_id && !plan.is_free()).ok_or_else(unknown)?;
    let shown = plan.price(interval).ok_or_else(unknown)?;
    let Some(price_id) = plan.price_id(interval).map(str::to_owned) else {
        internal(&format!("{} has no price at Stripe; run `plans push`", plan.id));
        return Err(Problem::billing_unavailable());
    };
    let _lock = billing.lock_user(viewer.user_id).await;
    let app = app.clone();
    // Runs in its own task: a second click cancels the first request, which must not stop halfway.
    let opening = tokio::spawn(async move {
        let _slot = billing.acquire_slot().await?;
        check_price(&billing, &plan, &price_id, &shown).await?;
        match open_checkout(&app, &billing, &viewer, &price_id, plan.trial_days).await {
            Err(error) if matches!(error.downcast_ref(), Some(StripeError::OtherCurrency)) => {
                Err(other_currency(&app, &viewer, &plan).await)
            }
            opened => opened.map_err(|error| failed(&error)),
        }
    });
    opening.await.map_err(|error| internal(&error))?
}

/// Checks that Stripe charges what the pricing page shows. After a change of a plan's price they differ until `plans push` (field note 95).
async fn check_price(billing: &Billing, plan: &Plan, price_id: &str, shown: &Amount) -> Result<(), Problem> {
    let charged = billing.stripe.price_amount(price_id).await.map_err(|error| failed(&error.into()))?;
    if charged == *shown {
        return Ok(());
    }
    let message = format!("{} costs {shown} here and {charged} at Stripe; run `plans push`", plan.id);
    Err(Problem { incident: internal(&message).incident, ..Problem::billing_unavailable() })
}

/// Flags a user who has paid in another currency than the plan's, of which admins are alerted, and returns the problem that explains it (field
/// note 91).
async fn other_currency(app: &AppState, viewer: &Viewer, plan: &Plan) -> Problem {
    let flagged = async {
        let payer = account::payer(&app.db, viewer.user_id).await?.context("the account is gone")?;
        let flag = BillingFlag {
            kind: OTHER_CURRENCY.to_owned(),
            object_id: payer.customer_id.context("there is no customer")?,
            user_id: Some(viewer.user_id),
            amount: None,
            created_at: AppState::now(),
            email: None,
        };
        anyhow::Ok(billing_flag::raise(&app.db, &flag).await?)
    };
    if let Err(error) = flagged.await {
        internal(&format!("{error:#}"));
    }
    let (name, currency, support) = (&plan.name, plan.currency.to_uppercase(), brand::SUPPORT_EMAIL);
    let message = format!(
        "You have paid in another currency before, and {name} is sold in {currency} only. Nothing was charged. Contact us at {support}."
    );
    Problem::invalid("plan", message)
}

/// Opens a checkout. A user has at most one, and none while there is a subscription. Open checkouts are closed before subscriptions
/// are fetched, so nothing can be paid in between. The transaction holds only the user's lock.
async fn open_checkout(
    app: &AppState,
    billing: &Billing,
    viewer: &Viewer,
    price_id: &str,
    trial_days: u32,
) -> anyhow::Result<String> {
    let mut tx = store::begin(&app.db).await?;
    checkout::lock(&mut tx, viewer.user_id).await?;
    for session in checkout::open(&app.db, viewer.user_id).await? {
        billing.stripe.expire_checkout(&session).await.context("closing a checkout")?;
        checkout::closed(&app.db, &session, AppState::now()).await?;
    }
    for customer_id in customers(app, viewer).await? {
        let synced = sync_now(app, billing, &customer_id).await?;
        if let Some(live) = synced.subscriptions.iter().find(|found| found.status.is_live()) {
            return change_url(app, billing, &customer_id, live, price_id).await;
        }
    }
    // Loaded after the sync, which may have unlinked a deleted customer or recorded the first trial.
    let payer = account::payer(&app.db, viewer.user_id).await?.context("the account is gone")?;
    let customer_id = match &payer.customer_id {
        Some(customer_id) => customer_id.clone(),
        None => create_customer(app, billing, &payer).await?,
    };
    let new = NewCheckout {
        customer_id: &customer_id,
        price_id,
        trial_days: if payer.tried { 0 } else { trial_days },
        automatic_tax: billing.automatic_tax,
        success_url: &format!("{}{BOUGHT}", app.config.public_url),
        cancel_url: &format!("{}/pricing", app.config.public_url),
    };
    let opened = billing.stripe.open_checkout(&new).await.context("opening a checkout")?;
    checkout::opened(&app.db, viewer.user_id, &opened.id, AppState::now()).await?;
    opened.url.context("checkout without a URL")
}

/// Creates the user's customer in Stripe and saves its id before using it.
async fn create_customer(app: &AppState, billing: &Billing, payer: &Payer) -> anyhow::Result<String> {
    let new = NewCustomer { user_id: payer.user_id, email: &payer.email, name: &payer.name };
    let created = billing.stripe.create_customer(&new).await.context("creating a customer")?;
    // If another server linked a customer first, that one is used and this one stays unused.
    account::link_customer(&app.db, payer.user_id, &created).await?.context("the account is gone")
}

/// Returns the URL of the portal with the plan change filled in, or of the plain portal if Stripe refuses that change.
async fn change_url(
    app: &AppState,
    billing: &Billing,
    customer_id: &str,
    live: &Fetched,
    price_id: &str,
) -> anyhow::Result<String> {
    let portal = plan::setting(&app.db, "portal").await?;
    if let Some(item_id) = live.item_id.as_deref().filter(|_| live.price_id.as_deref() != Some(price_id)) {
        let back = format!("{}{BOUGHT}", app.config.public_url);
        let flow = PortalFlow::Switch { subscription_id: &live.id, item_id, price_id };
        match billing.stripe.open_portal(customer_id, portal.as_deref(), &back, &flow).await {
            Err(error @ StripeError::Refused { .. }) => {
                tracing::warn!(%error, "Stripe refused the plan change in the portal; run `plans push`");
            }
            opened => return opened.context("opening the portal"),
        }
    }
    let back = format!("{}{BACK}", app.config.public_url);
    billing
        .stripe
        .open_portal(customer_id, portal.as_deref(), &back, &PortalFlow::Overview)
        .await
        .context("opening the portal")
}

/// Returns the URL of the customer portal.
///
/// # Errors
/// Returns a problem if the user has no subscription or Stripe can't be reached.
pub(crate) async fn portal_url(app: &AppState, viewer: &Viewer) -> Result<String, Problem> {
    let billing = app.billing()?;
    let _lock = billing.lock_user(viewer.user_id).await;
    let _slot = billing.acquire_slot().await?;
    let opened = async {
        let all = customers(app, viewer).await?;
        // A user with two customers pays through the last one.
        let Some(customer_id) = all.last() else { return anyhow::Ok(None) };
        let portal = plan::setting(&app.db, "portal").await?;
        let back = format!("{}{BACK}", app.config.public_url);
        match billing.stripe.open_portal(customer_id, portal.as_deref(), &back, &PortalFlow::Overview).await {
            Err(error) if error.is_missing() && sync_now(app, billing, customer_id).await?.is_gone => Ok(None),
            opened => Ok(Some(opened.context("opening the portal")?)),
        }
    };
    match opened.await {
        Ok(Some(url)) => Ok(url),
        Ok(None) => Err(Problem::invalid("", "You have no subscription to manage.")),
        Err(error) => Err(failed(&error)),
    }
}

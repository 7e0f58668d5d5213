//! People on their way to Stripe's pages and back.

use super::{Billing, failed, mirror};
use crate::auth::SignedIn;
use crate::error::Refused;
use crate::{House, pages};
use ::billing::{Goal, NewCheckout, NewCustomer};
use anyhow::Context as _;
use axum::Form;
use axum::extract::{FromRequest, Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::{Period, PlanId, Problem, Viewer};
use serde::Deserialize;
use store::account::Payer;
use store::{Tx, account, checkout, plan};

/// What can be chosen; what it costs is the plan's to say (field note 41).
#[derive(Deserialize)]
pub(crate) struct Choice {
    plan: PlanId,
    #[serde(default)]
    interval: Period,
}

/// Where Stripe's pages lead back to, and where from what was bought there.
const BACK: &str = "/billing/return";
const BOUGHT: &str = "/billing/return?bought=yes";

/// How somebody came back.
#[derive(Deserialize)]
pub(crate) struct CameBack {
    #[serde(default)]
    bought: String,
}

/// `POST /billing/checkout`: on to Stripe's checkout, or, for whoever has a subscription, to its portal.
pub(crate) async fn checkout(
    State(house): State<House>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let again = Request::from_parts(parts.clone(), axum::body::Body::empty());
    let form = Form::<Choice>::from_request(Request::from_parts(parts, body), &()).await;
    let chosen = form.map_err(|_| Problem::invalid("plan", "There is no such plan."));
    let leads_to = match chosen {
        Ok(Form(choice)) => to_checkout(&house, &viewer, &choice).await,
        Err(problem) => Err(problem),
    };
    Ok(lead(&house, again, leads_to).await)
}

/// `POST /billing/portal`: on to Stripe's portal.
pub(crate) async fn portal(
    State(house): State<House>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Refused> {
    let leads_to = to_portal(&house, &viewer).await;
    Ok(lead(&house, request, leads_to).await)
}

/// `GET /billing/return`: fetches what was just done over there, so that the page that follows shows it. Where Stripe is
/// slow its event will bring it.
pub(crate) async fn come_back(
    State(house): State<House>,
    SignedIn(viewer): SignedIn,
    Query(how): Query<CameBack>,
) -> Result<Response, Refused> {
    if let Ok(billing) = house.billing()
        && let Err(error) = fetch(&house, billing, &viewer).await
    {
        failed(&error);
    }
    let to = if how.bought.is_empty() { "/settings/billing" } else { "/settings/billing?from=checkout" };
    Ok(Redirect::to(to).into_response())
}

async fn lead(house: &House, request: Request, leads_to: Result<String, Problem>) -> Response {
    match leads_to {
        Ok(url) => Redirect::to(&url).into_response(),
        Err(problem) => pages::problem(house, request, problem).await,
    }
}

async fn fetch(house: &House, billing: &Billing, viewer: &Viewer) -> anyhow::Result<()> {
    let Ok(_place) = billing.place().await else { return Ok(()) };
    let mut tx = store::begin(&house.db).await?;
    let payer = account::payer(&mut *tx, viewer.user_id).await?;
    if let Some(customer) = payer.and_then(|payer| payer.customer_id) {
        mirror::mirror(&mut tx, billing, &customer, House::now()).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn to_checkout(house: &House, viewer: &Viewer, choice: &Choice) -> Result<String, Problem> {
    let billing = house.billing()?;
    let plans = plan::list(&house.db).await.map_err(|error| failed(&error.into()))?;
    let unknown = || Problem::invalid("plan", "This plan isn't sold that way. Pick one from the list of plans.");
    let plan = plans.into_iter().find(|plan| plan.id == choice.plan && !plan.is_free()).ok_or_else(unknown)?;
    plan.price(choice.interval).ok_or_else(unknown)?;
    let Some(price_id) = plan.price_id(choice.interval) else {
        crate::error::internal(&format!("{} has no price at Stripe; run `plans push`", plan.id));
        return Err(Problem::billing_unavailable());
    };
    let _place = billing.place().await?;
    let opened = open_checkout(house, billing, viewer, price_id, plan.trial_days).await;
    opened.map_err(|error| failed(&error))
}

/// One checkout at a time, and none beside a subscription: the open ones are closed before Stripe is asked what there is,
/// so nothing can be paid between the two.
async fn open_checkout(
    house: &House,
    billing: &Billing,
    viewer: &Viewer,
    price_id: &str,
    trial_days: u32,
) -> anyhow::Result<String> {
    let now = House::now();
    let mut tx = store::begin(&house.db).await?;
    checkout::lock(&mut tx, viewer.user_id).await?;
    for session in checkout::open(&mut *tx, viewer.user_id).await? {
        billing.stripe.close_checkout(&session).await.context("closing a checkout")?;
        checkout::closed(&mut *tx, &session, now).await?;
    }
    let payer = account::payer(&mut *tx, viewer.user_id).await?.context("the account is gone")?;
    let back = format!("{}{BOUGHT}", house.config.public_url);
    let mut is_gone = false;
    if let Some(customer_id) = &payer.customer_id {
        let there = mirror::mirror(&mut tx, billing, customer_id, now).await?;
        let live = there.subscriptions.iter().find(|subscription| subscription.status.is_live());
        if let Some(subscription) = live {
            let portal = plan::setting(&mut *tx, "portal").await?;
            tx.commit().await?;
            let goal = match &subscription.item_id {
                Some(item_id) if subscription.price_id.as_deref() != Some(price_id) => {
                    Goal::Switch { subscription_id: &subscription.id, item_id, price_id }
                }
                _ => Goal::Overview,
            };
            let key = uuid::Uuid::now_v7().to_string();
            let opened = billing.stripe.open_portal(customer_id, portal.as_deref(), &back, &goal, &key);
            return opened.await.context("opening the portal");
        }
        is_gone = there.is_gone;
    }
    let customer_id = match &payer.customer_id {
        Some(customer_id) if !is_gone => customer_id.clone(),
        _ => create_customer(&mut tx, billing, &payer).await?,
    };
    // Read after the mirror: it may just have seen the first trial.
    let tried = account::payer(&mut *tx, viewer.user_id).await?.is_none_or(|payer| payer.tried);
    let new = NewCheckout {
        customer_id: &customer_id,
        price_id,
        trial_days: if tried { 0 } else { trial_days },
        automatic_tax: billing.automatic_tax,
        success_url: &back,
        cancel_url: &format!("{}/pricing", house.config.public_url),
        key: &uuid::Uuid::now_v7().to_string(),
    };
    let opened = billing.stripe.open_checkout(&new).await.context("opening a checkout")?;
    checkout::opened(&mut *tx, viewer.user_id, &opened.id, now).await?;
    tx.commit().await?;
    opened.url.context("a checkout without an address")
}

async fn create_customer(tx: &mut Tx, billing: &Billing, payer: &Payer) -> anyhow::Result<String> {
    let new = NewCustomer { user_id: payer.user_id, email: &payer.email, name: &payer.name };
    let customer_id = billing.stripe.create_customer(&new).await.context("making a customer")?;
    account::link_customer(&mut **tx, payer.user_id, &customer_id).await?;
    Ok(customer_id)
}

async fn to_portal(house: &House, viewer: &Viewer) -> Result<String, Problem> {
    let billing = house.billing()?;
    let _place = billing.place().await?;
    let opened = async {
        let payer = account::payer(&house.db, viewer.user_id).await?;
        let Some(customer_id) = payer.and_then(|payer| payer.customer_id) else { return anyhow::Ok(None) };
        let portal = plan::setting(&house.db, "portal").await?;
        let back = format!("{}{BACK}", house.config.public_url);
        let key = uuid::Uuid::now_v7().to_string();
        let opened = billing.stripe.open_portal(&customer_id, portal.as_deref(), &back, &Goal::Overview, &key).await;
        Ok(Some(opened.context("opening the portal")?))
    };
    match opened.await {
        Ok(Some(url)) => Ok(url),
        Ok(None) => Err(Problem::invalid("", "There is nothing to look after yet: you have never subscribed.")),
        Err(error) => Err(failed(&error)),
    }
}

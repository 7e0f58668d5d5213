//! Stripe events: stored at once, then processed one by one, each in one transaction with its effect.

use super::sync::{self, Stranger};
use super::{Billing, backoff};
use crate::AppState;
use crate::error::{Refused, internal};
use ::billing::StripeError;
use ::billing::webhook::{self, BillingEvent, Subject};
use anyhow::Context as _;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::Amount;
use http::{HeaderMap, StatusCode};
use secrecy::ExposeSecret as _;
use std::time::Duration;
use store::stripe_event::{self, NewEvent};
use store::{Tx, checkout};

/// Failures after which an event is a dead letter. With Stripe out of reach it waits longer, for days.
const TRIES: i32 = 14;
const TRIES_OUT_OF_REACH: i32 = 100;

/// `POST /stripe/webhook`: verifies, stores, answers. A failure to store is 5xx, so that Stripe sends it again.
pub(crate) async fn receive(State(app): State<AppState>, headers: HeaderMap, body: Bytes) -> Result<Response, Refused> {
    let billing = app.billing()?;
    let Some(secret) = &billing.webhook_secret else {
        let error = "an event came, and STRIPE_WEBHOOK_SECRET isn't set";
        return Err(Refused(domain::Problem {
            incident: internal(&error).incident,
            ..domain::Problem::billing_unavailable()
        }));
    };
    let now = AppState::now();
    let header = headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Err(bad) = webhook::verify(secret.expose_secret(), header, &body, now) {
        tracing::warn!(reason = %bad, "an event was refused");
        return Ok((StatusCode::BAD_REQUEST, bad.to_string()).into_response());
    }
    let read = std::str::from_utf8(&body).ok().and_then(|text| Some((text, BillingEvent::read(text).ok()?)));
    let Some((text, event)) = read else {
        return Ok((StatusCode::BAD_REQUEST, webhook::NoEvent.to_string()).into_response());
    };
    let new = NewEvent {
        id: &event.id,
        kind: &event.kind,
        customer_id: event.customer_id.as_deref(),
        body: text,
        created_at: event.created_at,
        matters: event.subject != Subject::Other,
    };
    if stripe_event::receive(&app.db, &new, now).await? {
        metrics::counter!("quotient_stripe_events_total").increment(1);
        billing.bell.notify_one();
    }
    Ok(StatusCode::OK.into_response())
}

/// Works off the inbox for ever: when the bell rings, and every second for what other servers took in.
pub(crate) async fn work(app: AppState) {
    let Some(billing) = app.billing.clone() else { return };
    loop {
        loop {
            match next(&app, &billing).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    internal(&format!("{error:#}"));
                    break;
                }
            }
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), billing.bell.notified()).await;
    }
}

/// Takes one event and does what follows from it; false where none is due.
async fn next(app: &AppState, billing: &Billing) -> anyhow::Result<bool> {
    let mut tx = store::begin(&app.db).await?;
    let Some(due) = stripe_event::take(&mut tx).await? else { return Ok(false) };
    let effect = async {
        let event = BillingEvent::read(&due.body)?;
        apply(&mut tx, billing, &event).await?;
        stripe_event::done(&mut tx, &due.id, AppState::now()).await?;
        anyhow::Ok(())
    };
    if let Err(error) = effect.await {
        drop(tx);
        let is_out_of_reach = matches!(error.downcast_ref(), Some(StripeError::Unreachable(_)));
        let tries = if is_out_of_reach { TRIES_OUT_OF_REACH } else { TRIES };
        let retry_in = (due.attempts + 1 < tries).then(|| backoff(due.attempts));
        tracing::warn!(event = due.id, kind = due.kind, again = retry_in.is_some(), "an event failed: {error:#}");
        stripe_event::failed(&app.db, &due.id, &format!("{error:#}"), retry_in, AppState::now()).await?;
        return Ok(true);
    }
    tx.commit().await.context("commit")?;
    Ok(true)
}

async fn apply(tx: &mut Tx, billing: &Billing, event: &BillingEvent) -> anyhow::Result<()> {
    let now = AppState::now();
    if event.subject == Subject::Other {
        return Ok(());
    }
    // First, because it locks the customer and then the account; what follows locks what hangs on those.
    if let Some(customer) = &event.customer_id {
        sync::sync_customer(tx, billing, customer, Stranger::Refuse, now).await?;
    }
    match &event.subject {
        Subject::Customer | Subject::Other => {}
        Subject::Checkout { session_id } => checkout::closed(&mut *tx, session_id, now).await?,
        Subject::Refund { charge_id } => {
            let charge = billing.stripe.charge(charge_id).await?;
            let minor = charge.amount_refunded.unwrap_or(0);
            let amount = Amount { minor, currency: charge.currency };
            money_back(tx, "refund", charge_id, charge.customer.as_deref(), amount).await?;
        }
        Subject::Dispute { dispute_id, charge_id, minor, currency } => {
            let customer = match charge_id {
                Some(id) => billing.stripe.charge(id).await?.customer,
                None => None,
            };
            let amount = Amount { minor: *minor, currency: currency.clone() };
            money_back(tx, "dispute", dispute_id, customer.as_deref(), amount).await?;
        }
    }
    Ok(())
}

/// Flags money that went back, or may.
async fn money_back(
    tx: &mut Tx,
    kind: &str,
    object_id: &str,
    customer: Option<&str>,
    amount: Amount,
) -> anyhow::Result<()> {
    let user_id = match customer {
        Some(customer) => store::account::by_customer(&mut *tx, customer).await?,
        None => None,
    };
    sync::raise(tx, kind, object_id, user_id, Some(amount), AppState::now()).await
}

//! Stripe events: stored when they arrive, then processed one by one, each in one transaction with its effect.

use super::client::{Billing, backoff};
use super::sync::{self, UnknownCustomer};
use crate::AppState;
use crate::failure::{Failure, internal};
use ::billing::StripeError;
use ::billing::webhook::{self, BillingEvent, EventObject};
use anyhow::Context as _;
use domain::{Amount, Problem};
use secrecy::ExposeSecret as _;
use std::time::Duration;
use store::stripe_event::{self, NewEvent};
use store::{Tx, billing_flag, checkout};

/// Attempts after which an event becomes a dead letter. While Stripe can't be reached there are more, over several days.
const TRIES: i32 = 14;
const TRIES_UNREACHABLE: i32 = 100;

/// Verifies and stores an event. The inner error is the reason for which the event was rejected.
///
/// # Errors
/// Returns a failure if Stripe isn't connected or the event can't be stored.
pub(crate) async fn receive(app: &AppState, signature: &str, body: &[u8]) -> Result<Result<(), String>, Failure> {
    let billing = app.billing()?;
    let Some(secret) = &billing.webhook_secret else {
        let error = "Stripe event received, but STRIPE_WEBHOOK_SECRET isn't set";
        return Err(Failure(Problem { incident: internal(&error).incident, ..Problem::billing_unavailable() }));
    };
    let now = AppState::now();
    if let Err(reason) = webhook::verify(secret.expose_secret(), signature, body, now) {
        tracing::warn!(%reason, "Stripe event rejected");
        return Ok(Err(reason.to_string()));
    }
    let read = std::str::from_utf8(body).ok().and_then(|text| Some((text, BillingEvent::read(text).ok()?)));
    let Some((text, event)) = read else { return Ok(Err(webhook::InvalidEvent.to_string())) };
    let new = NewEvent {
        id: &event.id,
        kind: &event.kind,
        customer_id: event.customer_id.as_deref(),
        body: text,
        created_at: event.created_at,
        matters: event.object != EventObject::Other,
    };
    if stripe_event::receive(&app.db, &new, now).await? {
        metrics::counter!("quotient_stripe_events_total").increment(1);
        billing.event_arrived.notify_one();
    }
    Ok(Ok(()))
}

/// Processes the inbox forever: when notified, and every second for events that other servers received.
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
        let _ = tokio::time::timeout(Duration::from_secs(1), billing.event_arrived.notified()).await;
    }
}

/// Processes one event. Returns `false` if none is due.
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
        let is_unreachable = matches!(error.downcast_ref(), Some(StripeError::Unreachable(_)));
        let tries = if is_unreachable { TRIES_UNREACHABLE } else { TRIES };
        let retry_in = (due.attempts + 1 < tries).then(|| backoff(due.attempts));
        tracing::warn!(event = due.id, kind = due.kind, again = retry_in.is_some(), "Stripe event failed: {error:#}");
        stripe_event::failed(&app.db, &due.id, &format!("{error:#}"), retry_in, AppState::now()).await?;
        return Ok(true);
    }
    tx.commit().await.context("commit")?;
    Ok(true)
}

async fn apply(tx: &mut Tx, billing: &Billing, event: &BillingEvent) -> anyhow::Result<()> {
    let now = AppState::now();
    if event.object == EventObject::Other {
        return Ok(());
    }
    // First, because it locks the customer and then the account; later locks depend on these.
    if let Some(customer) = &event.customer_id {
        sync::sync_customer(tx, billing, customer, UnknownCustomer::Refuse, now).await?;
    }
    match &event.object {
        EventObject::Customer | EventObject::Other => {}
        EventObject::Checkout { session_id } => checkout::closed(&mut *tx, session_id, now).await?,
        EventObject::Refund { charge_id } => {
            let charge = billing.stripe.charge(charge_id).await?;
            let minor = charge.amount_refunded.unwrap_or(0);
            let amount = Amount { minor, currency: charge.currency };
            flag_payment(tx, "refund", charge_id, charge.customer.as_deref(), amount).await?;
        }
        EventObject::Dispute { dispute_id, charge_id, minor, currency, is_won } => {
            let customer = match charge_id {
                Some(id) => billing.stripe.charge(id).await?.customer,
                None => None,
            };
            let amount = Amount { minor: *minor, currency: currency.clone() };
            flag_payment(tx, "dispute", dispute_id, customer.as_deref(), amount.clone()).await?;
            if *is_won {
                // The first flag stays cleared, also if an earlier event about the dispute arrives later.
                billing_flag::clear(&mut *tx, "dispute", dispute_id, now).await?;
                flag_payment(tx, "dispute_won", dispute_id, customer.as_deref(), amount).await?;
            }
        }
    }
    Ok(())
}

/// Raises a flag about a payment that was refunded or is disputed.
async fn flag_payment(
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

//! Stripe, as the server uses it: users go to its pages and come back, its events come in, and what it says is mirrored
//! into rows that limits and pages read.

pub(crate) mod forms;
pub(crate) mod inbox;
pub(crate) mod plans;
pub(crate) mod reconcile;
pub(crate) mod sync;

use crate::{AppState, Config};
use ::billing::{Stripe, StripeError};
use domain::{Problem, UserId};
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedMutexGuard, Semaphore, SemaphorePermit};

/// Users on their way to Stripe at once; each keeps a database connection while Stripe answers.
const AT_ONCE: usize = 4;

/// How long somebody waits for one of those places.
const PATIENCE: Duration = Duration::from_secs(3);

/// Stripe, connected.
pub(crate) struct Billing {
    pub stripe: Stripe,
    pub webhook_secret: Option<SecretString>,
    pub grace: time::Duration,
    pub automatic_tax: bool,
    /// Where Stripe's pages are, for the policy of ours that lead there.
    pub pages: Vec<String>,
    /// An event came in.
    pub bell: Notify,
    places: Semaphore,
    gates: Mutex<HashMap<UserId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Billing {
    /// Connects where a key is set.
    ///
    /// # Errors
    /// Returns an error if the key or URL is not valid in a request.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(key) = &config.stripe_secret_key else { return Ok(None) };
        let is_live = ["sk_live_", "rk_live_"].iter().any(|live| key.expose_secret().starts_with(live));
        anyhow::ensure!(
            !is_live || config.stripe_base_url.is_none(),
            "a live Stripe key goes to Stripe alone; unset STRIPE_BASE_URL"
        );
        let stripe = Stripe::new(key.expose_secret(), config.stripe_base_url.as_deref())?;
        let pages = match &config.stripe_base_url {
            Some(url) => vec![url.trim_end_matches('/').to_owned()],
            None => vec!["https://checkout.stripe.com".to_owned(), "https://billing.stripe.com".to_owned()],
        };
        Ok(Some(Arc::new(Self {
            stripe,
            webhook_secret: config.stripe_webhook_secret.clone(),
            grace: time::Duration::days(config.billing_grace_days.into()),
            automatic_tax: config.stripe_automatic_tax,
            pages,
            bell: Notify::new(),
            places: Semaphore::new(AT_ONCE),
            gates: Mutex::default(),
        })))
    }

    /// One way to Stripe at a time per user, ahead of a place, so that nobody fills the places alone.
    pub(crate) async fn gate(&self, user_id: UserId) -> OwnedMutexGuard<()> {
        let gate = {
            let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
            Arc::clone(gates.entry(user_id).or_default())
        };
        gate.lock_owned().await
    }

    /// A place among those who keep a connection while Stripe answers, so that a slow Stripe starves no chat.
    pub(crate) async fn place(&self) -> Result<SemaphorePermit<'_>, Problem> {
        match tokio::time::timeout(PATIENCE, self.places.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Problem::billing_unavailable()),
        }
    }
}

impl AppState {
    /// Stripe, or the sentence that it isn't connected.
    pub(crate) fn billing(&self) -> Result<&Arc<Billing>, Problem> {
        self.billing.as_ref().ok_or_else(Problem::billing_not_connected)
    }
}

/// The problem for a failure at Stripe; logs it once.
pub(crate) fn failed(error: &anyhow::Error) -> Problem {
    let logged = crate::error::internal(&format!("{error:#}"));
    match error.downcast_ref::<StripeError>() {
        Some(_) => Problem { incident: logged.incident, ..Problem::billing_unavailable() },
        None => logged,
    }
}

/// When something that failed `attempts` times is tried again: after 2, 4, 8 … seconds, an hour at most.
pub(crate) fn backoff(attempts: i32) -> time::Duration {
    time::Duration::seconds(1 << attempts.saturating_add(1).clamp(1, 12)).min(time::Duration::hours(1))
}

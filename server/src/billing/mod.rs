//! The Stripe integration of the server: sends users to Stripe's pages, receives events, and syncs customers to the rows that limits and
//! pages read.

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

/// Maximum number of users being redirected to Stripe at once. Each holds a database connection while Stripe responds.
const AT_ONCE: usize = 4;

/// Time that a user waits for one of these slots.
const PATIENCE: Duration = Duration::from_secs(3);

/// The connection to Stripe.
pub(crate) struct Billing {
    pub stripe: Stripe,
    pub webhook_secret: Option<SecretString>,
    pub grace: time::Duration,
    pub automatic_tax: bool,
    /// Origins of Stripe's pages, for the content security policy of pages that redirect to them.
    pub pages: Vec<String>,
    /// Notified when an event arrives.
    pub bell: Notify,
    places: Semaphore,
    gates: Mutex<HashMap<UserId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Billing {
    /// Creates the client if a key is configured.
    ///
    /// # Errors
    /// Returns an error if the key or URL is invalid.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(key) = &config.stripe_secret_key else { return Ok(None) };
        let is_live = ["sk_live_", "rk_live_"].iter().any(|live| key.expose_secret().starts_with(live));
        anyhow::ensure!(
            !is_live || config.stripe_base_url.is_none(),
            "a live Stripe key must not be sent to another server; unset STRIPE_BASE_URL"
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

    /// Locks a user's access to Stripe. Acquired before a slot, so that one user can't occupy all slots.
    pub(crate) async fn gate(&self, user_id: UserId) -> OwnedMutexGuard<()> {
        let gate = {
            let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
            Arc::clone(gates.entry(user_id).or_default())
        };
        gate.lock_owned().await
    }

    /// Acquires a slot for holding a database connection while Stripe responds, so that a slow Stripe doesn't block chat.
    pub(crate) async fn place(&self) -> Result<SemaphorePermit<'_>, Problem> {
        match tokio::time::timeout(PATIENCE, self.places.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Problem::billing_unavailable()),
        }
    }
}

impl AppState {
    /// Returns the Stripe integration, or the problem that it isn't connected.
    pub(crate) fn billing(&self) -> Result<&Arc<Billing>, Problem> {
        self.billing.as_ref().ok_or_else(Problem::billing_not_connected)
    }
}

/// Returns the problem for a failed Stripe operation. Logs it once.
pub(crate) fn failed(error: &anyhow::Error) -> Problem {
    let logged = crate::error::internal(&format!("{error:#}"));
    match error.downcast_ref::<StripeError>() {
        Some(_) => Problem { incident: logged.incident, ..Problem::billing_unavailable() },
        None => logged,
    }
}

/// Returns the delay before retrying something that failed `attempts` times before: 2, 4, 8 … seconds, at most one hour.
pub(crate) fn backoff(attempts: i32) -> time::Duration {
    time::Duration::seconds(1 << attempts.saturating_add(1).clamp(1, 12)).min(time::Duration::hours(1))
}

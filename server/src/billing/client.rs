//! The connection to Stripe and its shared state.

use crate::Config;
use crate::failure::internal;
use ::billing::{Stripe, StripeError};
use domain::{Problem, UserId};
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedMutexGuard, Semaphore, SemaphorePermit};

/// Maximum number of users being redirected to Stripe at once. Each holds a database connection while Stripe responds.
const SLOTS: usize = 4;

/// Time that a user waits for one of these slots.
const SLOT_TIMEOUT: Duration = Duration::from_secs(3);

/// The connection to Stripe.
pub(crate) struct Billing {
    pub stripe: Stripe,
    pub webhook_secret: Option<SecretString>,
    pub grace: time::Duration,
    pub automatic_tax: bool,
    /// Origins of Stripe's pages, for the content security policy of pages that redirect to them.
    pub pages: Vec<String>,
    /// Notified when an event arrives.
    pub event_arrived: Notify,
    slots: Semaphore,
    locks: Mutex<HashMap<UserId, Arc<tokio::sync::Mutex<()>>>>,
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
            event_arrived: Notify::new(),
            slots: Semaphore::new(SLOTS),
            locks: Mutex::default(),
        })))
    }

    /// Locks a user's access to Stripe. Acquired before a slot, so that one user can't occupy all slots.
    pub(crate) async fn lock_user(&self, user_id: UserId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(user_id).or_default())
        };
        lock.lock_owned().await
    }

    /// Acquires a slot for holding a database connection while Stripe responds, so that a slow Stripe doesn't block chat.
    pub(crate) async fn acquire_slot(&self) -> Result<SemaphorePermit<'_>, Problem> {
        match tokio::time::timeout(SLOT_TIMEOUT, self.slots.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Problem::billing_unavailable()),
        }
    }
}

/// Returns the problem for a failed Stripe operation. Logs it once.
pub(crate) fn failed(error: &anyhow::Error) -> Problem {
    let logged = internal(&format!("{error:#}"));
    match error.downcast_ref::<StripeError>() {
        Some(_) => Problem { incident: logged.incident, ..Problem::billing_unavailable() },
        None => logged,
    }
}

/// Returns the delay before retrying something that failed `attempts` times before: 2, 4, 8 … seconds, at most one hour.
pub(crate) fn backoff(attempts: i32) -> time::Duration {
    time::Duration::seconds(1 << attempts.saturating_add(1).clamp(1, 12)).min(time::Duration::hours(1))
}

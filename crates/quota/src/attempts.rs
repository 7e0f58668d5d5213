//! Counts attempts, sign-ups, and repeated calls of API keys.

use crate::counters::{AttemptCount, count};
use crate::quotas::Quotas;
use limits::Unavailable;

impl Quotas {
    /// Counts an attempt under `key`, of which `limit` are allowed in 15 minutes.
    ///
    /// # Errors
    /// Returns an error if the meters can't be reached.
    pub async fn count_attempt(&self, key: &str, limit: u64) -> Result<AttemptCount, Unavailable> {
        count(&self.counters.attempts, key, limit).await
    }

    /// Counts an attempt under `key`, of which `limit` are allowed in 24 hours.
    ///
    /// # Errors
    /// Returns an error if the meters can't be reached.
    pub async fn count_daily_attempt(&self, key: &str, limit: u64) -> Result<AttemptCount, Unavailable> {
        count(&self.counters.daily_attempts, key, limit).await
    }

    /// Clears the attempts under `key` of the last 15 minutes.
    ///
    /// # Errors
    /// Returns an error if the meters can't be reached.
    pub async fn clear_attempts(&self, key: &str) -> Result<(), Unavailable> {
        self.counters.attempts.discard(key).await
    }

    /// Counts a sign-up, of which this deployment allows `limit` in an hour.
    ///
    /// # Errors
    /// Returns an error if the meters can't be reached.
    pub async fn count_sign_up(&self, limit: u64) -> Result<AttemptCount, Unavailable> {
        count(&self.counters.sign_ups, &self.name, limit).await
    }

    /// Counts a call of an API key under `key`, of which `limit` are counted in 60 seconds.
    ///
    /// # Errors
    /// Returns an error if the meters can't be reached.
    pub async fn count_repeat(&self, key: &str, limit: u64) -> Result<AttemptCount, Unavailable> {
        count(&self.counters.repeats, key, limit).await
    }

    /// Clears the calls under `key` that [`Quotas::count_repeat`] has counted.
    ///
    /// # Errors
    /// Returns an error if the meters can't be reached.
    pub async fn clear_repeats(&self, key: &str) -> Result<(), Unavailable> {
        self.counters.repeats.discard(key).await
    }
}

//! The configured identity providers, each with its endpoints and keys, which are cached for an hour.

use super::error::IdentityError;
use super::fetch::Fetcher;
use super::metadata::{Endpoints, load_keys};
use crate::config::{Config, IdentityProvider};
use jsonwebtoken::jwk::Jwk;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long endpoints and keys are cached.
const FRESH: Duration = Duration::from_secs(3_600);

/// A value that is loaded again after an hour.
struct Cached<T>(Mutex<Option<(Instant, Arc<T>)>>);

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Cached<T> {
    fn fresh(&self) -> Option<Arc<T>> {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, value)| Arc::clone(value))
    }

    /// Returns the value, however old.
    fn latest(&self) -> Option<Arc<T>> {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.as_ref().map(|(_, value)| Arc::clone(value))
    }

    fn store(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), Arc::clone(&value)));
        value
    }
}

/// A configured provider.
pub(crate) struct Provider {
    pub config: IdentityProvider,
    pub(super) fetcher: Fetcher,
    endpoints: Cached<Endpoints>,
    keys: Cached<Vec<Jwk>>,
}

impl Provider {
    /// Returns the endpoints, from the cache if they are fresh.
    pub(super) async fn endpoints(&self) -> Result<Arc<Endpoints>, IdentityError> {
        if let Some(endpoints) = self.endpoints.fresh() {
            return Ok(endpoints);
        }
        Ok(self.endpoints.store(Endpoints::load(&self.fetcher, &self.config).await?))
    }

    /// Returns the keys of ID tokens, from the cache if they are fresh and `is_cached` permits it.
    pub(super) async fn keys(&self, is_cached: bool) -> Result<Arc<Vec<Jwk>>, IdentityError> {
        if let Some(keys) = self.keys.fresh().filter(|_| is_cached) {
            return Ok(keys);
        }
        let endpoints = self.endpoints().await?;
        let url = endpoints.keys.as_ref().ok_or_else(|| IdentityError::refused("the provider has no keys"))?;
        Ok(self.keys.store(load_keys(&self.fetcher, url).await?))
    }

    /// Returns whether the provider reports when a user has signed in to it, so that it can confirm who they are.
    pub(crate) fn reports_sign_in_time(&self) -> bool {
        self.endpoints.latest().is_some_and(|endpoints| endpoints.reports_sign_in_time())
    }

    /// Returns the known origins of the pages that a browser is sent to.
    fn origins(&self) -> impl Iterator<Item = String> {
        let authorize = self.endpoints.latest().map(|endpoints| endpoints.authorize.clone());
        let urls = [Some(self.config.issuer().to_owned()), authorize];
        urls.into_iter()
            .flatten()
            .filter_map(|url| Some(reqwest::Url::parse(&url).ok()?.origin().ascii_serialization()))
    }
}

/// All configured providers, in the order of their buttons.
pub(crate) struct Providers(Vec<Provider>);

impl Providers {
    /// Creates the providers of the configuration. Nothing is requested of them yet.
    ///
    /// # Errors
    /// Returns an error if the HTTP client can't be built.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let mut all = Vec::new();
        for provider in &config.identity_providers {
            all.push(Provider {
                config: provider.clone(),
                fetcher: Fetcher::new()?,
                endpoints: Cached::default(),
                keys: Cached::default(),
            });
        }
        Ok(Self(all))
    }

    /// Returns a provider by its id.
    pub(crate) fn get(&self, id: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.config.id == id)
    }

    /// Returns the origins that browsers are sent to, for the Content-Security-Policy.
    pub(crate) fn origins(&self) -> Vec<String> {
        let mut origins: Vec<String> = self.0.iter().flat_map(Provider::origins).collect();
        origins.sort();
        origins.dedup();
        origins
    }

    /// Loads the endpoints of all providers, so that the first sign-in needn't wait for them and [`Self::origins`] is complete.
    pub(crate) async fn discover(&self) {
        for provider in &self.0 {
            if let Err(error) = provider.endpoints().await {
                let id = provider.config.id.as_str();
                tracing::warn!(provider = id, %error, "the endpoints of an identity provider can't be loaded");
            }
        }
    }
}

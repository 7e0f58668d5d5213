//! The only caller of `providers`. Opening a stream requires a permit.

use super::circuit::Circuit;
use crate::Config;
use crate::failure::internal;
use domain::{Model, Problem, PromptMessage, Provider, Tokens};
use limits::Permit;
use providers::{Anthropic, Chunks, Demo, ModelRequest, OpenAi, ProviderError, Timeouts};
use secrecy::SecretString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{collections::HashMap, sync::Arc, sync::Mutex, sync::PoisonError};
use tokio::sync::Notify;

/// Maximum number of retries if a provider is busy or can't be reached.
const RETRIES: u32 = 2;
/// Pause before the first retry. Doubles with each retry.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest pause that a provider may request. Beyond it the call is not retried, and the user is shown when to try again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A provider endpoint with its circuit breaker.
struct Server<V> {
    provider: V,
    circuit: Circuit,
    /// Time that a call may wait for its response head before it counts as silent.
    silence: Duration,
}

/// The providers with an API key, and endpoints that models configure with their own base URL.
pub struct Providers {
    anthropic: Option<Server<Anthropic>>,
    openai: Option<Server<OpenAi>>,
    openai_base_url: Option<String>,
    openai_key: Option<SecretString>,
    timeouts: Timeouts,
    /// Endpoints by base URL, from rows of `model`. Created on first use.
    named: Mutex<HashMap<String, Arc<Server<OpenAi>>>>,
    /// Notified when any circuit opens.
    opened: Arc<Notify>,
}

/// The reason a call was not opened.
#[derive(Debug)]
pub enum NotOpened {
    /// The provider's circuit breaker is open.
    Circuit {
        /// Milliseconds until the provider is probed.
        retry_after_ms: u64,
    },
    /// The provider failed or refused the call.
    Provider(ProviderError),
}

impl<V: providers::Provider> Server<V> {
    fn new(provider: V, timeouts: Timeouts, opened: &Arc<Notify>) -> Self {
        Self { provider, circuit: Circuit::new(Arc::clone(opened)), silence: timeouts.first_byte / 4 }
    }

    /// Opens a stream. Retries while the error is temporary and the provider accepted nothing.
    async fn open(&self, request: &ModelRequest<'_>, outstanding: &AtomicBool) -> Result<Chunks, NotOpened> {
        let (mut tried, mut last) = (0, None);
        loop {
            let call_permit = match (self.circuit.try_acquire(Instant::now()), last) {
                (Ok(call_permit), _) => call_permit,
                // The circuit opened between two attempts; the provider was called at least once.
                (Err(_), Some(error)) => return Err(NotOpened::Provider(error)),
                (Err(left), None) => {
                    let retry_after_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
                    return Err(NotOpened::Circuit { retry_after_ms });
                }
            };
            outstanding.store(true, Ordering::Relaxed);
            let error = match self.open_once(request, &call_permit).await {
                Ok(chunks) => {
                    call_permit.worked();
                    return Ok(chunks);
                }
                Err(error) => error,
            };
            outstanding.store(error.may_be_billed(), Ordering::Relaxed);
            if error.is_outage() {
                call_permit.failed(Instant::now());
            } else {
                call_permit.worked();
            }
            let Some(pause) = pause(&error, tried) else { return Err(NotOpened::Provider(error)) };
            (tried, last) = (tried + 1, Some(error));
            metrics::counter!("quotient_provider_retries_total").increment(1);
            tokio::time::sleep(pause).await;
        }
    }
}

impl<V: providers::Provider> Server<V> {
    /// Makes one attempt. Once it has been silent for longer than usual, the circuit breaker counts it, so that further calls don't join
    /// the wait (field note 104).
    async fn open_once(
        &self,
        request: &ModelRequest<'_>,
        call_permit: &super::circuit::CallPermit<'_>,
    ) -> Result<Chunks, ProviderError> {
        let opening = self.provider.open(request);
        tokio::pin!(opening);
        tokio::select! {
            opened = &mut opening => return opened,
            () = tokio::time::sleep(self.silence) => {}
        }
        let _silent = call_permit.silent(Instant::now());
        opening.await
    }
}

/// Returns the pause before the next attempt, or `None` if the call isn't retried. Doubles each time, with jitter, so that many clients
/// don't retry at once.
fn pause(error: &ProviderError, tried: u32) -> Option<Duration> {
    let own = PAUSE * 2_u32.pow(tried);
    let own = own.mul_f64(rand::random_range(0.5..1.0));
    let wanted = match error {
        ProviderError::Busy { retry_after_ms: Some(ms), .. } => Duration::from_millis(*ms),
        _ => Duration::ZERO,
    };
    (error.is_retryable() && tried < RETRIES && wanted <= LONGEST_PAUSE).then(|| own.max(wanted))
}

impl Providers {
    /// Creates the providers from the configuration.
    ///
    /// # Errors
    /// Returns an error if TLS can't be set up.
    pub fn new(config: &Config) -> Result<Self, ProviderError> {
        let (anthropic, openai, timeouts) =
            (config.anthropic_api_key.clone(), config.openai_api_key.clone(), config.provider_timeouts);
        let (anthropic_url, openai_url) = (config.anthropic_base_url.as_deref(), config.openai_base_url.as_deref());
        let anthropic = anthropic.map(|key| Anthropic::new(anthropic_url, key, timeouts)).transpose()?;
        let at_openai = openai.clone().map(|key| OpenAi::new(openai_url, Some(key), timeouts)).transpose()?;
        let opened = Arc::<Notify>::default();
        Ok(Self {
            anthropic: anthropic.map(|provider| Server::new(provider, timeouts, &opened)),
            openai: at_openai.map(|provider| Server::new(provider, timeouts, &opened)),
            openai_base_url: config.openai_base_url.clone(),
            openai_key: openai,
            timeouts,
            named: Mutex::default(),
            opened,
        })
    }

    /// Returns whether a model can be called. The demo model is available only while no provider has a key.
    pub fn offers(&self, model: &Model) -> bool {
        match (model.provider, &model.base_url) {
            (Provider::Anthropic, _) => self.anthropic.is_some(),
            (Provider::OpenAi, Some(_)) => true,
            (Provider::OpenAi, None) => self.openai.is_some(),
            (Provider::Demo, _) => self.anthropic.is_none() && self.openai.is_none(),
        }
    }

    /// Opens the stream of an admitted call. The output is capped by `max_output`, by the model, and by what the permit reserves.
    /// `outstanding` is set while a request is in flight that the provider may bill, so that the caller knows it if the call is canceled.
    ///
    /// # Errors
    /// Returns the reason the call was not opened.
    pub async fn open(
        &self,
        permit: &Permit,
        model: &Model,
        messages: &[PromptMessage],
        max_output: Tokens,
        outstanding: &AtomicBool,
    ) -> Result<Chunks, NotOpened> {
        let max_output = max_output.min(Tokens(permit.reserved())).min(model.max_output);
        let request = ModelRequest { model: &model.name, system: domain::brand::SYSTEM_PROMPT, messages, max_output };
        let no_key = || NotOpened::Provider(ProviderError::Unreachable("no key".into()));
        match (model.provider, &model.base_url) {
            (Provider::Demo, _) => providers::Provider::open(&Demo, &request).await.map_err(NotOpened::Provider),
            (Provider::OpenAi, Some(base_url)) => {
                self.named(base_url).map_err(NotOpened::Provider)?.open(&request, outstanding).await
            }
            (Provider::OpenAi, None) => self.openai.as_ref().ok_or_else(no_key)?.open(&request, outstanding).await,
            (Provider::Anthropic, _) => self.anthropic.as_ref().ok_or_else(no_key)?.open(&request, outstanding).await,
        }
    }

    /// Records that a stream broke off because of the provider.
    pub fn record_stream_failure(&self, model: &Model) {
        let now = Instant::now();
        match (model.provider, &model.base_url) {
            (Provider::Demo, _) => {}
            (Provider::OpenAi, Some(base_url)) => {
                if let Ok(server) = self.named(base_url) {
                    server.circuit.broke(now);
                }
            }
            (Provider::OpenAi, None) => self.openai.iter().for_each(|server| server.circuit.broke(now)),
            (Provider::Anthropic, _) => self.anthropic.iter().for_each(|server| server.circuit.broke(now)),
        }
    }

    /// Returns the milliseconds until the circuit of a model's provider lets a call through; `None` if it does now.
    pub fn open_for_ms(&self, model: &Model) -> Option<u64> {
        let now = Instant::now();
        let left = match (model.provider, &model.base_url) {
            (Provider::Demo, _) => None,
            (Provider::OpenAi, Some(base_url)) => self.named(base_url).ok()?.circuit.refuses(now),
            (Provider::OpenAi, None) => self.openai.as_ref()?.circuit.refuses(now),
            (Provider::Anthropic, _) => self.anthropic.as_ref()?.circuit.refuses(now),
        };
        left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    /// Waits until a circuit breaker opens. Supports a single waiter; a notification without a waiter is kept.
    pub(crate) async fn circuit_opened(&self) {
        self.opened.notified().await;
    }

    /// Returns every known endpoint, with the milliseconds until its circuit is probed if the circuit is open.
    pub fn circuits(&self) -> Vec<(String, Option<u64>)> {
        let now = Instant::now();
        let ms =
            |circuit: &Circuit| circuit.open_for(now).map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let mut all = Vec::new();
        all.extend(self.anthropic.iter().map(|server| ("Anthropic".to_owned(), ms(&server.circuit))));
        all.extend(self.openai.iter().map(|server| ("OpenAI".to_owned(), ms(&server.circuit))));
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(named.iter().map(|(url, server)| (url.clone(), ms(&server.circuit))));
        all
    }

    fn named(&self, base_url: &str) -> Result<Arc<Server<OpenAi>>, ProviderError> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = named.get(base_url) {
            return Ok(Arc::clone(server));
        }
        // Send the key only to the endpoint it was configured for.
        let key = (self.openai_base_url.as_deref() == Some(base_url)).then(|| self.openai_key.clone()).flatten();
        let server =
            Arc::new(Server::new(OpenAi::new(Some(base_url), key, self.timeouts)?, self.timeouts, &self.opened));
        named.insert(base_url.to_owned(), Arc::clone(&server));
        Ok(server)
    }
}

impl NotOpened {
    /// Returns whether a fallback model may be called: the provider is unavailable or busy.
    pub fn wants_fallback(&self) -> bool {
        match self {
            Self::Circuit { .. } => true,
            // A silent provider may be generating and bill it, so no second call is made.
            Self::Provider(error) => error.is_retryable(),
        }
    }

    /// Returns whether the provider was called at all.
    pub fn was_called(&self) -> bool {
        !matches!(self, Self::Circuit { .. })
    }

    /// Returns whether the provider may have accepted the call and bill it.
    pub fn may_be_billed(&self) -> bool {
        matches!(self, Self::Provider(error) if error.may_be_billed())
    }

    /// Returns the problem shown to the user; details are logged. `estimated` is the size of the prompt, which a silent provider may bill.
    pub fn problem(&self, estimated: Tokens) -> Problem {
        let error = match self {
            Self::Circuit { retry_after_ms } => return Problem::model_unavailable(*retry_after_ms),
            Self::Provider(error) => error,
        };
        let problem = match error {
            ProviderError::Unreachable(_) => Problem::model_unavailable(10_000),
            ProviderError::TimedOut => Problem::model_silent(estimated),
            ProviderError::Busy { retry_after_ms, .. } => Problem::model_unavailable(retry_after_ms.unwrap_or(10_000)),
            ProviderError::Refused { .. } | ProviderError::StreamFailed(_) => Problem::model_failed(),
        };
        Problem { incident: internal(error).incident, ..problem }
    }
}

/// Returns the problem shown to the user if a stream broke off. `has_text` tells whether any text was received.
pub fn broken_problem(error: &ProviderError, has_text: bool) -> Problem {
    let problem = if has_text { Problem::model_interrupted() } else { Problem::model_failed() };
    Problem { incident: internal(error).incident, ..problem }
}

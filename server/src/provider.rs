//! The only caller of `providers`: opening a stream requires a permit.

use crate::Config;
use crate::circuit::Circuit;
use domain::{Model, Problem, PromptMessage, Provider, Tokens};
use limits::Permit;
use providers::{Anthropic, Ask, Chunks, Demo, OpenAi, Patience, ProviderError};
use secrecy::SecretString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{collections::HashMap, sync::Arc, sync::Mutex, sync::PoisonError};
use tokio::sync::Notify;

/// How often a provider that is busy or can't be reached is asked again.
const RETRIES: u32 = 2;
/// Before the first time; doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// If a provider asks for a longer pause, the call is not retried; the user is told when to try again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A server that answers, and how it has been doing.
struct Server<V> {
    provider: V,
    circuit: Circuit,
    /// How long a call may wait for the head of its answer before it counts as silent.
    silence: Duration,
}

/// The providers that have a key, and the servers that models name for themselves.
pub struct Providers {
    anthropic: Option<Server<Anthropic>>,
    openai: Option<Server<OpenAi>>,
    openai_base_url: Option<String>,
    openai_key: Option<SecretString>,
    patience: Patience,
    /// Servers that rows of `model` name, made when first asked.
    named: Mutex<HashMap<String, Arc<Server<OpenAi>>>>,
    /// Notified when any circuit opens.
    opened: Arc<Notify>,
}

/// Why a call was not begun.
#[derive(Debug)]
pub enum NotOpened {
    /// The provider failed too often a moment ago.
    Circuit {
        /// When it is tried again.
        retry_after_ms: u64,
    },
    /// The provider.
    Provider(ProviderError),
}

impl<V: providers::Provider> Server<V> {
    fn new(provider: V, patience: Patience, opened: &Arc<Notify>) -> Self {
        Self { provider, circuit: Circuit::new(Arc::clone(opened)), silence: patience.first_byte / 4 }
    }

    /// Asks, and again where that may help and nothing was accepted.
    async fn open(&self, ask: &Ask<'_>, outstanding: &AtomicBool) -> Result<Chunks, NotOpened> {
        let (mut tried, mut last) = (0, None);
        loop {
            let pass = match (self.circuit.enter(Instant::now()), last) {
                (Ok(pass), _) => pass,
                // It opened between two tries: the provider was asked all the same.
                (Err(_), Some(error)) => return Err(NotOpened::Provider(error)),
                (Err(left), None) => {
                    let retry_after_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
                    return Err(NotOpened::Circuit { retry_after_ms });
                }
            };
            outstanding.store(true, Ordering::Relaxed);
            let error = match self.open_once(ask, &pass).await {
                Ok(chunks) => {
                    pass.worked();
                    return Ok(chunks);
                }
                Err(error) => error,
            };
            outstanding.store(error.may_bill(), Ordering::Relaxed);
            if error.is_outage() {
                pass.failed(Instant::now());
            } else {
                pass.worked();
            }
            let Some(pause) = pause(&error, tried) else { return Err(NotOpened::Provider(error)) };
            (tried, last) = (tried + 1, Some(error));
            metrics::counter!("quotient_provider_retries_total").increment(1);
            tokio::time::sleep(pause).await;
        }
    }
}

impl<V: providers::Provider> Server<V> {
    /// One call. While it is silent for longer than usual the circuit knows, so that others don't join the wait (field note 104).
    async fn open_once(&self, ask: &Ask<'_>, pass: &crate::circuit::Pass<'_>) -> Result<Chunks, ProviderError> {
        let opening = self.provider.open(ask);
        tokio::pin!(opening);
        tokio::select! {
            opened = &mut opening => return opened,
            () = tokio::time::sleep(self.silence) => {}
        }
        let _silent = pass.silent(Instant::now());
        opening.await
    }
}

/// How long to wait before asking again, if at all: twice as long each time, with chance in it, so that many don't come back at once.
fn pause(error: &ProviderError, tried: u32) -> Option<Duration> {
    let own = PAUSE * 2_u32.pow(tried);
    let own = own.mul_f64(rand::random_range(0.5..1.0));
    let wanted = match error {
        ProviderError::Busy { retry_after_ms: Some(ms), .. } => Duration::from_millis(*ms),
        _ => Duration::ZERO,
    };
    (error.may_pass() && tried < RETRIES && wanted <= LONGEST_PAUSE).then(|| own.max(wanted))
}

impl Providers {
    /// # Errors
    /// Returns an error if TLS can't be set up.
    pub fn new(config: &Config) -> Result<Self, ProviderError> {
        let (anthropic, openai, patience) =
            (config.anthropic_api_key.clone(), config.openai_api_key.clone(), config.patience);
        let (anthropic_url, openai_url) = (config.anthropic_base_url.as_deref(), config.openai_base_url.as_deref());
        let anthropic = anthropic.map(|key| Anthropic::new(anthropic_url, key, patience)).transpose()?;
        let at_openai = openai.clone().map(|key| OpenAi::new(openai_url, Some(key), patience)).transpose()?;
        let opened = Arc::<Notify>::default();
        Ok(Self {
            anthropic: anthropic.map(|provider| Server::new(provider, patience, &opened)),
            openai: at_openai.map(|provider| Server::new(provider, patience, &opened)),
            openai_base_url: config.openai_base_url.clone(),
            openai_key: openai,
            patience,
            named: Mutex::default(),
            opened,
        })
    }

    /// Whether a model can be asked. The demo model stands in while no provider has a key.
    pub fn offers(&self, model: &Model) -> bool {
        match (model.provider, &model.base_url) {
            (Provider::Anthropic, _) => self.anthropic.is_some(),
            (Provider::OpenAi, Some(_)) => true,
            (Provider::OpenAi, None) => self.openai.is_some(),
            (Provider::Demo, _) => self.anthropic.is_none() && self.openai.is_none(),
        }
    }

    /// Opens the stream of an admitted call. The answer is at most `most`, and never more than the permit holds. `outstanding` is set while
    /// a request is sent that its provider may bill, so that it is known of a call that is cancelled.
    ///
    /// # Errors
    /// Returns why the call was not opened.
    pub async fn open(
        &self,
        permit: &Permit,
        model: &Model,
        messages: &[PromptMessage],
        most: Tokens,
        outstanding: &AtomicBool,
    ) -> Result<Chunks, NotOpened> {
        let max_output = most.min(Tokens(permit.reserved())).min(model.max_output);
        let ask = Ask { model: &model.name, system: domain::brand::SYSTEM_PROMPT, messages, max_output };
        let no_key = || NotOpened::Provider(ProviderError::Unreachable("no key".into()));
        match (model.provider, &model.base_url) {
            (Provider::Demo, _) => providers::Provider::open(&Demo, &ask).await.map_err(NotOpened::Provider),
            (Provider::OpenAi, Some(base_url)) => {
                self.named(base_url).map_err(NotOpened::Provider)?.open(&ask, outstanding).await
            }
            (Provider::OpenAi, None) => self.openai.as_ref().ok_or_else(no_key)?.open(&ask, outstanding).await,
            (Provider::Anthropic, _) => self.anthropic.as_ref().ok_or_else(no_key)?.open(&ask, outstanding).await,
        }
    }

    /// A call that had begun broke off, by the provider's doing.
    pub fn broke(&self, model: &Model) {
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

    /// For how many milliseconds the circuit of a model's provider is open; none where calls are let through.
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

    /// Waits until a circuit breaker opens. Made for one waiter; an opening that happens while none waits is kept.
    pub(crate) async fn circuit_opened(&self) {
        self.opened.notified().await;
    }

    /// Every server that is known, and for how many milliseconds its circuit is open, if it is.
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
        // The key goes only to the server it was set for.
        let key = (self.openai_base_url.as_deref() == Some(base_url)).then(|| self.openai_key.clone()).flatten();
        let server =
            Arc::new(Server::new(OpenAi::new(Some(base_url), key, self.patience)?, self.patience, &self.opened));
        named.insert(base_url.to_owned(), Arc::clone(&server));
        Ok(server)
    }
}

impl NotOpened {
    /// Whether another model may stand in: this one is out of order, or busy.
    pub fn wants_fallback(&self) -> bool {
        match self {
            Self::Circuit { .. } => true,
            // One that is silent may be writing, and bills it: no second call beside it.
            Self::Provider(error) => error.may_pass(),
        }
    }

    /// Whether the provider was asked at all.
    pub fn was_asked(&self) -> bool {
        !matches!(self, Self::Circuit { .. })
    }

    /// Whether the provider may have accepted the call all the same, and bills it.
    pub fn may_bill(&self) -> bool {
        matches!(self, Self::Provider(error) if error.may_bill())
    }

    /// What the user is shown of a call that wasn't begun; the log has the rest. `estimated` is the prompt, which a provider that
    /// was silent may bill.
    pub fn problem(&self, estimated: Tokens) -> Problem {
        let error = match self {
            Self::Circuit { retry_after_ms } => return Problem::model_unavailable(*retry_after_ms),
            Self::Provider(error) => error,
        };
        let problem = match error {
            ProviderError::Unreachable(_) => Problem::model_unavailable(10_000),
            ProviderError::Silent => Problem::model_silent(estimated),
            ProviderError::Busy { retry_after_ms, .. } => Problem::model_unavailable(retry_after_ms.unwrap_or(10_000)),
            ProviderError::Refused { .. } | ProviderError::Broke(_) => Problem::model_failed(),
        };
        Problem { incident: crate::error::internal(error).incident, ..problem }
    }
}

/// What the user is shown of an answer that broke off; `has_text` says whether it had begun.
pub fn broken_problem(error: &ProviderError, has_text: bool) -> Problem {
    let problem = if has_text { Problem::model_interrupted() } else { Problem::model_failed() };
    Problem { incident: crate::error::internal(error).incident, ..problem }
}
